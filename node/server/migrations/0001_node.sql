-- The store of one node, for SQLite and PostgreSQL alike. Amounts and byte counts are decimal text: they are wider than
-- the databases' integers. Addresses are 20 bytes, hashes 32. Times are seconds since 1970, a yes is 1 and a no 0.

-- One row: the prepayment of one payer at this node, whose operator is the payee.
create table accounts (
    payer bytea primary key check (length(payer) = 20),
    base text not null,                     -- running total the account was opened at
    vouchered text not null,                -- highest cumulative total accepted; base + due(lines) after each of them
    reserved text not null,                 -- sum of `packets.reserve` over the payer's stored packets
    stored_bytes bigint not null,           -- sum of the lengths of these packets
    fronted text not null,                  -- promised to relays beyond what the payer has paid since, base units * 2^30
    statements bigint not null default 0,  -- number of the last statement issued
    acknowledged_at bigint not null         -- when an acknowledgement was last accepted; before the first, when it was opened
);

-- One row: a wallet this node receives for, and who pays for it.
create table wallets (
    wallet bytea primary key check (length(wallet) = 20),
    payer bytea not null references accounts (payer),
    last_seq bigint not null default 0,    -- sequence number of the last packet stored
    entrusted_at bigint not null
);

-- One row: a packet that waits for its receiver's acknowledgement.
create table packets (
    wallet bytea not null references wallets (wallet),
    seq bigint not null check (seq > 0),
    stored_at bigint not null,
    tariff_version bigint not null,
    relayed_in bigint not null check (relayed_in in (0, 1)),
    reserve text not null,                  -- the worst case it may still cost
    packet bytea not null,
    primary key (wallet, seq)
);
create index packets_by_age on packets (stored_at);

-- One row: the id of a packet that was stored once. Rows outlive the packets: a packet is charged once (law 9), and
-- each row was covered by a prepayment, which bounds the table.
create table seen_packets (
    id bytea primary key check (length(id) = 32),
    seen_at bigint not null
);

-- One row: a version of this node's own tariff that some packet was stored under.
create table tariffs (
    version bigint primary key,
    delivery text not null,
    relay text not null,
    storing text not null
);

-- One row: running totals under one tariff version, in one book.
--   customer         owner = payer            acknowledged and charged
--   statement        owner = payer            what the account's latest statement says
--   statement_relay  owner = payer            what acknowledging that statement adds to `owed` for the outbound leg
--   owed             owner = relay operator   what this node's operator owes it
create table lines (
    book text not null check (book in ('customer', 'statement', 'statement_relay', 'owed')),
    owner bytea not null check (length(owner) = 20),
    tariff_version bigint not null,
    delivery text not null,
    relay text not null,
    storing text not null,
    delivered text not null,
    relayed text not null,
    byte_seconds text not null,
    primary key (book, owner, tariff_version)
);

-- One row: the latest statement of an account. Only this one can be acknowledged.
create table statements (
    payer bytea primary key references accounts (payer),
    number bigint not null,
    wallet bytea not null,
    through bigint not null,               -- covers the wallet's packets up to this sequence number
    at bigint not null,
    base text not null,
    total text not null,
    relay bytea check (length(relay) = 20),  -- the relay node whose session the subscription ran through
    acknowledged bigint not null default 0 check (acknowledged in (0, 1))
);

-- One row: the best voucher of a lane, and whether this node's settler has it. The outbox is the rows not handed over.
create table vouchers (
    payer bytea not null check (length(payer) = 20),
    payee bytea not null check (length(payee) = 20),
    cumulative text not null,
    signature bytea not null check (length(signature) = 65),
    handed_over bigint not null default 0 check (handed_over in (0, 1)),
    primary key (payer, payee)
);

-- One row: the highest charge of a lane by the payer's standing mandate, and whether this node's settler has it. The rows
-- not handed over are in the outbox, too.
create table charges (
    payer bytea not null check (length(payer) = 20),
    payee bytea not null check (length(payee) = 20),
    cumulative text not null,
    signature bytea not null check (length(signature) = 65),
    signed_at bigint not null,
    handed_over bigint not null default 0 check (handed_over in (0, 1)),
    primary key (payer, payee)
);

-- One row: a command that was obeyed, kept until it is too old to be replayed.
create table commands (
    id bytea primary key check (length(id) = 32),
    seen_at bigint not null
);
create index commands_by_age on commands (seen_at);

-- One row: the newest subscription of a wallet, if it came by GET: its browser repeats it.
create table event_sources (
    wallet bytea primary key references wallets (wallet),
    packet bytea not null check (length(packet) = 32),
    accepted_at bigint not null
);

-- One row: a session that a relay opened here by its signature. The token itself is not kept.
create table peer_sessions (
    token_hash bytea primary key check (length(token_hash) = 32),
    relay bytea not null check (length(relay) = 20),
    operator bytea not null check (length(operator) = 20),
    expires_at bigint not null
);
create index peer_sessions_by_relay on peer_sessions (relay);

-- One row: what this node, as agent, owes one relay operator. The lines are in book 'owed'.
create table owed (
    relay_operator bytea primary key check (length(relay_operator) = 20),
    base text not null,
    vouchered text not null                 -- highest cumulative total this node signed for it
);

-- One row: this agent's count of the bytes exchanged with one relay node.
create table owed_counts (
    relay bytea primary key check (length(relay) = 20),
    relay_operator bytea not null,
    inbound_bytes text not null,
    outbound_bytes text not null
);

-- One row: this relay's count of the bytes exchanged with one agent node, and how far the agent has confirmed it.
create table earned (
    agent bytea primary key check (length(agent) = 20),
    agent_operator bytea not null check (length(agent_operator) = 20),
    inbound_bytes text not null,
    outbound_bytes text not null,
    inbound_confirmed text not null,
    outbound_confirmed text not null,
    outbound_written_off text not null,     -- pushed through this relay, never acknowledged
    vouchered text not null                 -- highest cumulative total accepted
);

-- One row: a block whose events this store contains, of the newest only. The highest is the cursor.
create table chain_blocks (
    number bigint primary key,
    hash bytea not null check (length(hash) = 32)
);

-- One row: a record that one of these blocks touched, to be read again should the block be taken back. `second` is zero
-- where one address names the record.
create table chain_touched (
    block bigint not null,
    kind text not null check (kind in ('node', 'route', 'lane', 'mandate', 'delegate')),
    first bytea not null check (length(first) = 20),
    second bytea not null check (length(second) = 20),
    primary key (block, kind, first, second)
);

-- One row: a record that changed in blocks that are contained, and is read when the head is reached.
create table chain_unread (
    kind text not null check (kind in ('node', 'route', 'lane', 'mandate', 'delegate')),
    first bytea not null check (length(first) = 20),
    second bytea not null check (length(second) = 20),
    primary key (kind, first, second)
);

-- One row: a node of the routing table. Its endpoint is whatever bytes its operator chose.
create table chain_nodes (
    node bytea primary key check (length(node) = 20),
    operator bytea not null,
    retired_at bigint not null,
    sealing_key bytea not null check (length(sealing_key) = 64),
    delivery text not null,
    relay text not null,
    storing text not null,
    tariff_version bigint not null,
    next_delivery text not null,
    next_relay text not null,
    next_storing text not null,
    next_from bigint not null,
    endpoint bytea not null
);

-- One row: an announcement of a node's tariff, whether it ever took effect or not. Of one version the last one counts.
create table chain_tariffs (
    node bytea not null check (length(node) = 20),
    version bigint not null,
    announced_in bigint not null,           -- block
    delivery text not null,
    relay text not null,
    storing text not null,
    effective_from bigint not null,
    primary key (node, version, announced_in)
);

-- One row: a wallet that has a route.
create table chain_routes (
    wallet bytea primary key check (length(wallet) = 20),
    agent bytea not null check (length(agent) = 20)
);

-- One row: a lane this node has to do with. Payee zero is the payer's open balance.
create table chain_lanes (
    payer bytea not null check (length(payer) = 20),
    payee bytea not null check (length(payee) = 20),
    deposit text not null,
    paid text not null,
    thawing text not null,
    primary key (payer, payee)
);

-- One row: a standing mandate this node has to do with; all zero if it was never given.
create table chain_mandates (
    payer bytea not null check (length(payer) = 20),
    payee bytea not null check (length(payee) = 20),
    daily_cap text not null,
    accrual_cap text not null,
    valid_until text not null,              -- the payer's word: wider than a database's integer
    accrued text not null,                  -- base units * 86400
    accrued_at bigint not null,
    primary key (payer, payee)
);

-- One row: a signer that a payer authorises now.
create table chain_delegates (
    payer bytea not null check (length(payer) = 20),
    signer bytea not null check (length(signer) = 20),
    primary key (payer, signer)
);

-- One row in all: when the writer, after a failure, last tried whether it can write again.
create table pulse (
    id bigint primary key check (id = 1),
    at bigint not null
);
