-- One row is one debt that a transaction pays in front of a claim on the very operator that is paid. Whether it is under way,
-- its transaction tells; what it paid counts while that is confirmed.
create table netted (
    transaction_id bigint  not null references transactions (id) on delete cascade,
    payer          text    not null,                 -- ours
    payee          text    not null,
    cumulative     text    not null check (length(cumulative) = 29),
    paid           text    check (length(paid) = 29),
    primary key (transaction_id, payer, payee)
);
create index netted_by_lane on netted (payer, payee);
