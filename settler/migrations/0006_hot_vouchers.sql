-- A voucher that waits is replaced by larger ones, often thousands of times before it is claimed. No index holds any more
-- what is replaced then, so that PostgreSQL writes the new row beside the old one and touches no index, and SQLite the row
-- alone. What is looked for by its amount is what is claimed: that never changes.
--
-- A column that is computed is added by neither database in the other's words; so the table is made anew.

drop index one_waiting_voucher_per_lane;
drop index one_voucher_under_way_per_lane;
drop index vouchers_by_lane;
drop index vouchers_by_transaction;
drop index vouchers_by_request;
alter table vouchers rename to old_vouchers;

-- One row is one voucher that this settler answers for.
create table vouchers (
    id             bigint  primary key,
    payer          text    not null,
    payee          text    not null,
    cumulative     text    not null check (length(cumulative) = 29),
    signer         text    not null,
    signature      text    not null,
    state          text    not null check (state in ('recorded', 'planned', 'submitted', 'confirmed')),
    came_from      text    not null,                 -- the state before this one; 'new' at first
    recorded_at    bigint  not null,                 -- since when money of this lane waits
    retry_at       bigint  not null default 0,       -- not to be planned before
    failures       bigint  not null default 0,
    held           text,                             -- why it was not claimed when last looked at
    reason         text,                             -- why it was claimed
    asked          bigint  references requests (id),
    transaction_id bigint  references transactions (id),
    paid           text    check (length(paid) = 29), -- what this claim moved
    claimed        text    generated always as (case when state <> 'recorded' then cumulative end) stored,
    foreign key (payer, payee) references lanes (payer, payee),
    check (state <> 'recorded' or transaction_id is null),
    check (state not in ('planned', 'submitted') or transaction_id is not null),
    check ((state = 'confirmed') = (paid is not null)),
    check (came_from || '>' || state in (
        'new>recorded', 'new>planned',
        'recorded>planned', 'recorded>confirmed',
        'planned>submitted', 'submitted>planned',
        'planned>confirmed', 'submitted>confirmed',
        'planned>recorded', 'submitted>recorded',
        'confirmed>planned'))
);
-- A larger voucher takes the place of one that still waits, and waits for one that is under way.
create unique index one_waiting_voucher_per_lane on vouchers (payer, payee) where state = 'recorded';
create unique index one_voucher_under_way_per_lane on vouchers (payer, payee) where state in ('planned', 'submitted');
create index vouchers_by_lane on vouchers (payer, payee, claimed);
create index vouchers_by_transaction on vouchers (transaction_id) where transaction_id is not null;
create index vouchers_by_request on vouchers (asked) where asked is not null;

insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at, retry_at, failures,
                      held, reason, asked, transaction_id, paid)
    select id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at, retry_at, failures, held,
           reason, asked, transaction_id, paid
    from old_vouchers;
drop table old_vouchers;
