-- What the client keeps: money (lanes, accounts, meter_lines, signed_statements, entrustments), what it counted but
-- has not yet seen acknowledged (messages), and what it received (message_ids, texts, files, file_parts).
-- Amounts and meters are decimal text: they are wider than SQLite's integers.

-- One row: a lane this client signs vouchers on, and the highest running total it ever signed there.
create table lanes (
    payer     blob    not null check (length(payer) = 20),
    operator  blob    not null check (length(operator) = 20),
    signed    text    not null,
    voucher   blob    check (voucher is null or length(voucher) = 96),
    signed_at integer not null,
    primary key (payer, operator)
) strict, without rowid;

-- One row: what one agent keeps for one payer, as this client counts it. `statement` is the last one acknowledged.
create table accounts (
    payer     blob    not null check (length(payer) = 20),
    agent     blob    not null check (length(agent) = 20),
    operator  blob    not null check (length(operator) = 20),
    base      text    not null,
    statement integer not null default 0,
    opened_at integer not null,
    primary key (payer, agent)
) strict, without rowid;

-- One row: the meters of an account under one version of its agent's tariff: those that were acknowledged, or those of
-- the statement that was signed last and is not known to be booked.
create table meter_lines (
    payer          blob    not null check (length(payer) = 20),
    agent          blob    not null check (length(agent) = 20),
    state          text    not null check (state in ('acknowledged', 'signed')),
    tariff_version integer not null,
    delivery       text    not null,
    relay          text    not null,
    storing        text    not null,
    delivered      text    not null,
    relayed        text    not null,
    byte_seconds   text    not null,
    primary key (payer, agent, state, tariff_version),
    foreign key (payer, agent) references accounts (payer, agent) on delete cascade
) strict, without rowid;

-- One row: the statement signed last on an account, until the agent is known to have booked it.
create table signed_statements (
    payer   blob    not null check (length(payer) = 20),
    agent   blob    not null check (length(agent) = 20),
    number  integer not null,
    wallet  blob    not null check (length(wallet) = 20),
    through integer not null,
    at      integer not null,
    total   text    not null,
    primary key (payer, agent),
    foreign key (payer, agent) references accounts (payer, agent) on delete cascade
) strict, without rowid;

-- One row: a wallet entrusted to an agent. Messages up to `acknowledged_through` are paid for and gone.
create table entrustments (
    wallet               blob    not null check (length(wallet) = 20),
    agent                blob    not null check (length(agent) = 20),
    payer                blob    not null check (length(payer) = 20),
    entrusted_at         integer not null,
    acknowledged_through integer not null default 0,
    primary key (wallet, agent)
) strict, without rowid;

-- One row: a message counted once, kept until a statement that covers it is acknowledged.
create table messages (
    wallet         blob    not null check (length(wallet) = 20),
    agent          blob    not null check (length(agent) = 20),
    seq            integer not null,
    bytes          integer not null,
    stored_at      integer not null,
    tariff_version integer not null,
    relayed        integer not null check (relayed in (0, 1)),
    packet_id      blob    not null check (length(packet_id) = 32),
    outcome        text    not null check (outcome in ('kept', 'duplicate', 'discarded')),
    primary key (wallet, agent, seq)
) strict, without rowid;

-- One row: a message id of one sender, seen; its second coming is not delivered again.
create table message_ids (
    wallet     blob    not null check (length(wallet) = 20),
    sender     blob    not null check (length(sender) = 20),
    id         blob    not null check (length(id) = 16),
    sent_at_ms integer not null,
    primary key (wallet, sender, id)
) strict, without rowid;

-- One row: a text that was received and not yet delivered to the application.
create table texts (
    wallet     blob    not null check (length(wallet) = 20),
    sender     blob    not null check (length(sender) = 20),
    id         blob    not null check (length(id) = 16),
    sent_at_ms integer not null,
    text       text    not null,
    primary key (wallet, sender, id)
) strict;

-- One row: a file some sender is sending or has sent. `path` is chosen before the file is put there.
create table files (
    wallet     blob    not null check (length(wallet) = 20),
    sender     blob    not null check (length(sender) = 20),
    file_id    blob    not null check (length(file_id) = 16),
    name       text    not null,
    size       integer not null,
    sha256     blob    not null check (length(sha256) = 32),
    count      integer not null,
    state      text    not null check (state in ('partial', 'placing', 'saved', 'corrupt')),
    path       text    check (path is not null or state in ('partial', 'corrupt')),
    started_at integer not null,
    primary key (wallet, sender, file_id)
) strict;

-- One row: one part of a file that is not yet saved.
create table file_parts (
    wallet  blob    not null check (length(wallet) = 20),
    sender  blob    not null check (length(sender) = 20),
    file_id blob    not null check (length(file_id) = 16),
    part    integer not null,
    bytes   blob    not null,
    primary key (wallet, sender, file_id, part),
    foreign key (wallet, sender, file_id) references files (wallet, sender, file_id) on delete cascade
) strict;
