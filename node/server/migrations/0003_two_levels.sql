-- One row in all, written by the node when it first opens the database: how far the journal is entered into the other tables.
-- Numbers of the journal's records count from 1 without a gap and are never used again.
create table applied (
    id bigint primary key check (id = 1),
    through bigint not null check (through >= 0),
    store bytea not null check (length(store) = 32)  -- random; records of the journal beside SQLite carry it
);

-- One row: packets that were let in together, with what was decided about each; the bytes are described in
-- `store/journal.rs`. In PostgreSQL this is the journal; beside SQLite it is in files, and rows here are of an older version.
create table journaled (
    number bigint primary key check (number > 0),
    batch bytea not null
);
insert into journaled select number, batch from journal;
drop table journal;

-- One row: the ids of packets that were entered together, 32 bytes each. Many such rows are later entered into
-- `seen_packets` in the order of the ids, and deleted.
create table seen_recent (
    number bigint primary key,              -- of the last record of the journal that they came with
    ids bytea not null check (length(ids) % 32 = 0)
);
