-- One row: up to which running total (`owed.vouchered`) this node's settler knows what was promised to a relay operator. What
-- was promised beyond that is in the outbox, too.
create table owed_told (
    relay_operator bytea primary key references owed (relay_operator),
    told text not null
);
