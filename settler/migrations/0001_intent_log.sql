-- The settler's intent log. Amounts are token base units as decimal text of 29 digits with leading zeros, so that
-- text order is number order; addresses, signatures and raw transactions are 0x-hex text in lower case; times are
-- unix seconds; a yes is 1 and a no 0. Ids are given by the one process that writes. One set of SQL for SQLite and
-- PostgreSQL. Nothing here is the truth about money: that is lane.paid on the chain.

-- One row is one press of "claim now". Vouchers that were open at that moment point to it.
create table requests (
    id       bigint  primary key,
    asked_at bigint  not null
);

-- One row is one lane, payer to payee, from which a voucher was ever accepted, and how the chain last showed it.
create table lanes (
    payer              text    not null,
    payee              text    not null,
    lane_deposit       text    not null check (length(lane_deposit) = 29),
    lane_paid          text    not null check (length(lane_paid) = 29),
    lane_thawing       text    not null check (length(lane_thawing) = 29),
    lane_thaw_ends_at  bigint  not null,             -- 0: nothing thaws
    open_amount        text    not null check (length(open_amount) = 29),
    open_thawing       text    not null check (length(open_thawing) = 29),
    open_thaw_ends_at  bigint  not null,
    signer_ends_at     bigint  not null,             -- when the voucher's signer stops being one; 0: not in sight
    seen_at            bigint  not null,
    primary key (payer, payee)
);
create index lanes_by_age on lanes (seen_at);

-- One row is one transaction of a gas key: a nonce that is ours until it is mined, reverted or lost.
create table transactions (
    id           bigint  primary key,
    sender       text    not null,
    nonce        bigint  not null,
    payee        text    not null,
    gas_limit    bigint  not null,
    state        text    not null check (state in ('planned', 'submitted', 'confirmed', 'reverted', 'lost')),
    created_at   bigint  not null,
    lost_since   bigint,                             -- block at which the nonce was first seen used by a stranger
    mined_hash   text,                               -- of the attempt that was mined
    mined_block  bigint,
    mined_in     text,                               -- hash of that block
    gas_used     bigint,
    fee_wei      text
);
create unique index one_live_transaction_per_nonce on transactions (sender, nonce)
    where state in ('planned', 'submitted');
create index transactions_by_state on transactions (state, mined_block);

-- One row is one set of signed bytes. Replacements of a transaction share its nonce; any one of them may be mined.
create table attempts (
    hash             text    primary key,
    transaction_id   bigint  not null references transactions (id),
    ordinal          bigint  not null,               -- 1 for the first of its transaction
    raw              text    not null,
    max_fee_wei      text    not null,
    priority_fee_wei text    not null,
    signed_at_block  bigint  not null
);
create index attempts_by_transaction on attempts (transaction_id);

-- One row is one voucher that this settler answers for.
create table vouchers (
    id             bigint  primary key,
    payer          text    not null,
    payee          text    not null,
    cumulative     text    not null check (length(cumulative) = 29),
    signer         text    not null,
    signature      text    not null,
    state          text    not null check (state in ('recorded', 'planned', 'submitted', 'confirmed')),
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
    check ((state = 'confirmed') = (paid is not null))
);
-- A larger voucher takes the place of one that still waits, and waits for one that is under way.
create unique index one_waiting_voucher_per_lane on vouchers (payer, payee) where state = 'recorded';
create unique index one_voucher_under_way_per_lane on vouchers (payer, payee) where state in ('planned', 'submitted');
create index vouchers_by_lane on vouchers (payer, payee, cumulative);
create index vouchers_by_transaction on vouchers (transaction_id);
create index vouchers_by_request on vouchers (asked) where asked is not null;
