-- The state machine as it is drawn in README.md: each row says which state it came from, and a CHECK lets only the drawn
-- arrows be written. Transactions can be cancelled, and earnings are added up by day, so that old rows can go.
--
-- Neither database changes a CHECK in place, or not in the same words; so the four tables that hang together are made
-- anew and filled from the old ones.

drop index one_live_transaction_per_nonce;
drop index transactions_by_state;
drop index attempts_by_transaction;
drop index one_waiting_voucher_per_lane;
drop index one_voucher_under_way_per_lane;
drop index vouchers_by_lane;
drop index vouchers_by_transaction;
drop index vouchers_by_request;
alter table transactions rename to old_transactions;
alter table attempts rename to old_attempts;
alter table vouchers rename to old_vouchers;
alter table charges rename to old_charges;

-- One row is one nonce of a gas key that is ours until one of its attempts is mined or a stranger used it.
create table transactions (
    id           bigint  primary key,
    sender       text    not null,
    nonce        bigint  not null,
    purpose      text    not null check (purpose in ('claim', 'charge')),
    payee        text    not null,
    gas_limit    bigint  not null,
    planned_rows bigint  not null,                   -- vouchers or charges in it
    state        text    not null check (state in ('planned', 'submitted', 'confirmed', 'reverted', 'lost', 'cancelled')),
    came_from    text    not null,                   -- the state before this one; 'new' at first
    created_at   bigint  not null,
    lost_since   bigint,                             -- block at which the nonce was first seen used by a stranger
    mined_hash   text,                               -- of the attempt that was mined
    mined_block  bigint,
    mined_in     text,                               -- hash of that block
    gas_used     bigint,
    fee_wei      text,
    moved        text    check (length(moved) = 29), -- what it moved in all, as `earnings` counts it; once confirmed
    moved_rows   bigint,                             -- how many of its rows moved something
    check (came_from || '>' || state in (
        'new>planned',
        'planned>submitted', 'submitted>planned',
        'planned>confirmed', 'planned>reverted', 'planned>lost', 'planned>cancelled',
        'submitted>confirmed', 'submitted>reverted', 'submitted>lost', 'submitted>cancelled',
        'confirmed>planned', 'reverted>planned', 'cancelled>planned'))
);
create unique index one_live_transaction_per_nonce on transactions (sender, nonce)
    where state in ('planned', 'submitted');
create index transactions_by_state on transactions (state, mined_block);

-- One row is one set of signed bytes. Replacements of a transaction share its nonce; any one of them may be mined.
create table attempts (
    hash             text    primary key,
    transaction_id   bigint  not null references transactions (id),
    ordinal          bigint  not null,               -- 1 for the first of its transaction
    cancels          bigint  not null check (cancels in (0, 1)), -- it carries no rows and only uses up the nonce
    raw              text    not null,
    max_fee_wei      text    not null,
    priority_fee_wei text    not null,
    signed_at_block  bigint  not null,
    unique (transaction_id, ordinal)
);

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
create index vouchers_by_lane on vouchers (payer, payee, cumulative);
create index vouchers_by_transaction on vouchers (transaction_id) where transaction_id is not null;
create index vouchers_by_request on vouchers (asked) where asked is not null;

-- One row is one lane's best charge: what its payee asks for out of the payer's standing mandate. It has no state of its
-- own. It is under way while its last transaction is; then what the chain has paid tells what is left of it, and the row
-- goes when nothing is. So a charge that a mandate bears in parts is charged in parts.
create table charges (
    id             bigint  primary key,
    payer          text    not null,
    payee          text    not null,
    cumulative     text    not null check (length(cumulative) = 29),
    signer         text    not null,
    signature      text    not null,
    recorded_at    bigint  not null,
    retry_at       bigint  not null default 0,       -- not to be planned before
    held           text,                             -- why it was not charged when last looked at
    asked          bigint  references requests (id), -- the operator wants it now; until it is planned
    transaction_id bigint  references transactions (id),
    unique (payer, payee)
);
create index charges_by_transaction on charges (transaction_id) where transaction_id is not null;

-- One row is what the transactions of one day brought to one payee and cost; the day is that on which they were signed.
-- Written in the same database transaction as their ends, so that it stays exact when their rows are gone.
create table earnings (
    day          bigint  not null,                   -- days since 1970
    payee        text    not null,
    moved        text    not null check (length(moved) = 29),
    moved_rows   bigint  not null,
    transactions bigint  not null,                   -- mined ones: confirmed, reverted or cancelled
    gas_used     bigint  not null,
    fee_wei      text    not null,
    primary key (day, payee)
);

insert into transactions (id, sender, nonce, purpose, payee, gas_limit, planned_rows, state, came_from,
                          created_at, lost_since, mined_hash, mined_block, mined_in, gas_used, fee_wei)
    select o.id, o.sender, o.nonce,
           case when exists (select 1 from old_charges c where c.transaction_id = o.id)
                 and not exists (select 1 from old_vouchers v where v.transaction_id = o.id) then 'charge' else 'claim' end,
           o.payee, o.gas_limit,
           (select count(*) from old_vouchers v where v.transaction_id = o.id)
               + (select count(*) from old_charges c where c.transaction_id = o.id),
           o.state,
           case o.state when 'planned' then 'new' when 'submitted' then 'planned' else 'submitted' end,
           o.created_at, o.lost_since, o.mined_hash, o.mined_block, o.mined_in, o.gas_used, o.fee_wei
    from old_transactions o;
insert into attempts (hash, transaction_id, ordinal, cancels, raw, max_fee_wei, priority_fee_wei, signed_at_block)
    select hash, transaction_id, ordinal, 0, raw, max_fee_wei, priority_fee_wei, signed_at_block from old_attempts;
insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at, retry_at, failures,
                      held, reason, asked, transaction_id, paid)
    select id, payer, payee, cumulative, signer, signature, state,
           case state when 'recorded' then 'new' when 'planned' then 'recorded' when 'submitted' then 'planned'
                      else 'submitted' end,
           recorded_at, retry_at, failures, held, reason, asked, transaction_id, paid
    from old_vouchers;
insert into charges (id, payer, payee, cumulative, signer, signature, recorded_at, retry_at, held, asked, transaction_id)
    select id, payer, payee, cumulative, signer, signature, recorded_at, retry_at, held, asked, transaction_id
    from old_charges;
drop table old_attempts;
drop table old_vouchers;
drop table old_charges;
drop table old_transactions;
