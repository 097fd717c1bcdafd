-- One row: packets that were let in together, with what was decided about each, so that one small write makes them durable.
-- Soon after they are entered into the other tables, many rows at once, and the rows are deleted in that transaction.
-- Numbers count from 1 without a gap; the bytes are described in `store/journal.rs`.
create table journal (
    number integer primary key check (number > 0),
    batch bytea not null
);
