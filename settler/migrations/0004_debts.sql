-- One row is one lane from an operator of this settler to an operator whose relays carried for it: the highest voucher that
-- our nodes issued, and how the chain last showed the lane. It has no state of its own: what is left of it, the lane tells,
-- whoever claimed. Rows stay, one for each relay's operator that our nodes ever dealt with; their number is bounded.
create table debts (
    payer              text    not null,             -- ours
    payee              text    not null,
    cumulative         text    not null check (length(cumulative) = 29),
    signer             text    not null,
    signature          text    not null,
    recorded_at        bigint  not null,             -- since when something of it is not paid
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
create index debts_by_age on debts (seen_at);
