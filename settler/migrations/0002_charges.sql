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
