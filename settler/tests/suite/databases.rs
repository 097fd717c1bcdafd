//! What both databases have to promise: the schema knows the state machine, every version's tables are brought up to date
//! with all that is in them, and one settler at a time works on them.

use std::borrow::Cow;
use std::process::{Child, Command, Stdio};

use alloy::primitives::Address;
use minus_settler::api::Status;
use minus_settler::store::{Store, StoreError, TransactionState, VoucherState};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use super::postgres::{Database, databases, succeeds};
use super::world::{World, tokens, until};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = match url.strip_prefix("sqlite:") {
        Some(path) => format!("sqlite://{path}?mode=rwc"),
        None => url.to_owned(),
    };
    AnyConnection::connect(&url).await.unwrap()
}

/// A database whose tables are those of that version.
async fn of_version(database: &Database, version: usize) -> AnyConnection {
    let mut connection = connect(&database.url).await;
    let migrations = Cow::Owned(MIGRATIONS.migrations[..version].to_vec());
    Migrator { migrations, ..Migrator::DEFAULT }.run(&mut connection).await.unwrap();
    connection
}

fn digits(units: u64) -> String {
    format!("{units:029}")
}

fn text(address: u8) -> String {
    format!("{:#x}", Address::repeat_byte(address))
}

async fn put_lane(connection: &mut AnyConnection, payer: u8) {
    let insert = format!(
        "insert into lanes values ('{}', '{}', '{one}', '{nil}', '{nil}', 0, '{nil}', '{nil}', 0, 0, 0)",
        text(payer),
        text(0xaa),
        one = digits(1_000),
        nil = digits(0),
    );
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
}

/// Every arrow that the enum draws can be written, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_tables_know_the_arrows_of_the_state_machine_and_no_others() {
    for database in databases() {
        Store::open(&database.url).await.unwrap().close().await;
        let mut connection = connect(&database.url).await;
        put_lane(&mut connection, 1).await;
        put_transaction(&mut connection, 1, "planned", "new").await.unwrap();

        for first in VoucherState::ALL {
            let outcome = put_voucher(&mut connection, 1, "new", first.as_str()).await;
            assert_eq!(outcome.is_ok(), VoucherState::FIRST.contains(first), "new to {first}");
            connection.execute("delete from vouchers").await.unwrap();
        }
        for (from, to) in VoucherState::ALL.iter().flat_map(|from| VoucherState::ALL.iter().map(move |to| (from, to))) {
            let before = VoucherState::ALL.iter().find(|state| state.next().contains(from)).unwrap();
            put_voucher(&mut connection, 1, before.as_str(), from.as_str()).await.unwrap();
            let change = match to {
                VoucherState::Recorded => ", transaction_id = null, paid = null".to_owned(),
                VoucherState::Planned | VoucherState::Submitted => ", transaction_id = 1, paid = null".to_owned(),
                VoucherState::Confirmed => format!(", paid = '{}'", digits(1)),
            };
            let update = format!("update vouchers set came_from = state, state = '{to}' {change}");
            let outcome = connection.execute(AssertSqlSafe(update)).await;
            assert_eq!(outcome.is_ok(), from.next().contains(to), "{from} to {to}");
            connection.execute("delete from vouchers").await.unwrap();
        }

        let states = TransactionState::ALL;
        for (from, to) in states.iter().flat_map(|from| states.iter().map(move |to| (from, to))) {
            connection.execute("delete from transactions").await.unwrap();
            let before = states.iter().find(|state| state.next().contains(from)).unwrap();
            put_transaction(&mut connection, 1, from.as_str(), before.as_str()).await.unwrap();
            let update = format!("update transactions set came_from = state, state = '{to}'");
            let outcome = connection.execute(AssertSqlSafe(update)).await;
            assert_eq!(outcome.is_ok(), from.next().contains(to), "{from} to {to}");
        }
        for first in states {
            connection.execute("delete from transactions").await.unwrap();
            let outcome = put_transaction(&mut connection, 1, first.as_str(), "new").await;
            assert_eq!(outcome.is_ok(), TransactionState::FIRST.contains(first), "new to {first}");
        }
        connection.close().await.unwrap();
    }
}

async fn put_transaction(
    connection: &mut AnyConnection,
    id: i64,
    state: &str,
    came_from: &str,
) -> Result<(), sqlx::Error> {
    let insert = format!(
        "insert into transactions (id, sender, nonce, purpose, payee, gas_limit, planned_rows, state, came_from, created_at)
         values ({id}, 'key', {id}, 'claim', '{}', 1, 1, '{state}', '{came_from}', 0)",
        text(0xaa)
    );
    connection.execute(AssertSqlSafe(insert)).await.map(drop)
}

async fn put_voucher(connection: &mut AnyConnection, id: i64, came_from: &str, state: &str) -> Result<(), sqlx::Error> {
    let transaction = if state == "recorded" { "null" } else { "1" };
    let paid = if state == "confirmed" { format!("'{}'", digits(1)) } else { "null".into() };
    let insert = format!(
        "insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at,
                               transaction_id, paid)
         values ({id}, '{}', '{}', '{}', '', '', '{state}', '{came_from}', 0, {transaction}, {paid})",
        text(1),
        text(0xaa),
        digits(1)
    );
    connection.execute(AssertSqlSafe(insert)).await.map(drop)
}

/// Lanes 1 to 4, each with a voucher in another state; a reverted and a lost claim; a claim that the operator asked for.
async fn fill_first_version(connection: &mut AnyConnection) {
    for payer in 1..=4 {
        put_lane(connection, payer).await;
    }
    let (key, payee, signature) = (text(0x99), text(0xaa), format!("0x{}", "1b".repeat(65)));
    let mut statements = vec!["insert into requests (id, asked_at) values (7, 100)".to_owned()];
    for (id, state, ended) in [
        (1, "planned", ""),
        (2, "submitted", ""),
        (3, "confirmed", "30, 21000, '42000'"),
        (4, "reverted", "40, 1000, '2000'"),
        (5, "lost", ""),
    ] {
        let ended = if ended.is_empty() { "null, null, null" } else { ended };
        let hash = if ended.starts_with("null") { "null".into() } else { format!("'0x{id:064x}'") };
        statements.push(format!(
            "insert into transactions (id, sender, nonce, payee, gas_limit, state, created_at, mined_hash, mined_in,
                                       mined_block, gas_used, fee_wei)
             values ({id}, '{key}', {id}, '{payee}', 100, '{state}', 86400, {hash}, {hash}, {ended})"
        ));
        for ordinal in 1..=2 {
            statements.push(format!(
                "insert into attempts (hash, transaction_id, ordinal, raw, max_fee_wei, priority_fee_wei, signed_at_block)
                 values ('0x{:064x}', {id}, {ordinal}, '0x0{id}0{ordinal}', '9', '1', 5)",
                10 * id + ordinal
            ));
        }
    }
    for (payer, state, transaction, paid) in
        [(1, "planned", "1", 0), (2, "submitted", "2", 0), (3, "confirmed", "3", 70), (4, "recorded", "null", 0)]
    {
        let paid = if paid == 0 { "null".into() } else { format!("'{}'", digits(paid)) };
        statements.push(format!(
            "insert into vouchers (id, payer, payee, cumulative, signer, signature, state, recorded_at, retry_at, failures,
                                   held, reason, asked, transaction_id, paid)
             values ({payer}, '{who}', '{payee}', '{total}', '{who}', '{signature}', '{state}', 11, 12, 2, null, 'worth', 7,
                     {transaction}, {paid})",
            who = text(payer),
            total = digits(u64::from(payer) * 100),
        ));
    }
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

async fn fill_second_version(connection: &mut AnyConnection) {
    let charge = format!(
        "insert into charges (id, payer, payee, cumulative, signer, signature, recorded_at, held, asked, transaction_id)
         values (3, '{}', '{payee}', '{}', '{payee}', '0x{}', 13, 'unfunded', 7, 4)",
        text(1),
        digits(5),
        "1b".repeat(65),
        payee = text(0xaa),
    );
    connection.execute(AssertSqlSafe(charge)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_every_version_are_brought_up_to_date_with_all_that_is_in_them() {
    for version in 1..MIGRATIONS.migrations.len() {
        for database in databases() {
            // What is there was put there by the first versions; later ones brought it along.
            let mut connection = of_version(&database, version.min(2)).await;
            fill_first_version(&mut connection).await;
            if version >= 2 {
                fill_second_version(&mut connection).await;
            }
            connection.close().await.unwrap();
            of_version(&database, version).await.close().await.unwrap();

            for _ in 0..2 {
                let store = Store::open(&database.url).await.unwrap();
                expect_all(&store, version).await;
                store.close().await;
            }
        }
    }
}

/// All that [`fill_first_version`] and [`fill_second_version`] put there.
async fn expect_all(store: &Store, version: usize) {
    let lines = store.lane_lines().await.unwrap();
    let states: Vec<_> = lines.iter().map(|line| (line.payer, line.state)).collect();
    assert_eq!(
        states,
        [
            (Address::repeat_byte(1), VoucherState::Planned),
            (Address::repeat_byte(2), VoucherState::Submitted),
            (Address::repeat_byte(4), VoucherState::Recorded),
        ]
    );
    let open = store.open_vouchers(9).await.unwrap();
    assert_eq!((open[0].id, open[0].retry_at, open[0].recorded_at, open[0].asked), (4, 12, 11, true));
    assert_eq!(open[0].view.deposit, tokens("0.001"));

    let live = store.live(Address::repeat_byte(0x99)).await.unwrap();
    let raw: Vec<_> = live.iter().map(|live| (live.id, live.state, live.attempts[0].raw.clone())).collect();
    let states = (TransactionState::Planned, TransactionState::Submitted);
    assert_eq!(raw, [(1, states.0, vec![1, 2]), (2, states.1, vec![2, 2])], "the newest bytes first");

    let summary = store.summary().await.unwrap();
    assert!(VoucherState::ALL.iter().all(|state| summary.vouchers[state].count == 1));
    assert_eq!(summary.vouchers[&VoucherState::Confirmed].paid, tokens("0.00007"));
    assert_eq!(summary.gas_used, 22_000);
    assert_eq!(summary.transactions[&TransactionState::Lost], 1);
    let earned = store.earnings(0, u64::MAX).await.unwrap();
    assert_eq!(earned.len(), 1);
    assert_eq!((earned[0].day, earned[0].moved_rows, earned[0].transactions), (1, 1, 2));
    assert_eq!((earned[0].moved, earned[0].fee_wei), (tokens("0.00007"), 44_000));

    let progress = store.progress(7).await.unwrap().unwrap();
    assert_eq!((progress.open, progress.confirmed, progress.claims.len()), (3, 1, 4));
    let charges = store.open_charges(9).await.unwrap();
    assert_eq!(charges.len(), usize::from(version >= 2));
    assert!(charges.iter().all(|charge| (charge.id, charge.charged_at, charge.asked) == (3, 86_400, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_left_alone() {
    for database in databases() {
        Store::open(&database.url).await.unwrap().close().await;
        let mut connection = connect(&database.url).await;
        let newer = "update _sqlx_migrations set version = 9000 where version = 1";
        connection.execute(newer).await.unwrap();
        connection.close().await.unwrap();

        assert!(matches!(Store::open(&database.url).await, Err(StoreError::Migrate(_))));
    }
    assert!(matches!(Store::open("mysql://localhost/settler").await, Err(StoreError::Url(_))));
    assert!(matches!(Store::open("sqlite::memory:").await, Err(StoreError::Url(_))));
}

/// The binary with a database. It ends with its owner.
struct Process(Child);

impl Process {
    fn start(world: &World, config: &str) -> Self {
        let log = std::fs::File::create(world.path(&format!("{config}.log"))).unwrap();
        let child = command(world, config).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(world: &World, config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
    command.args(["run", "--config", config]).current_dir(world.dir.path());
    command.env("SETTLER_PASSWORD", super::commands::PASSWORD).stdin(Stdio::null());
    command
}

async fn status(world: &World, port: u16) -> Option<Status> {
    let answer = world.http.get(format!("http://127.0.0.1:{port}/status")).send().await.ok()?;
    answer.json().await.ok()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_settler_on_one_database_refuses_until_the_first_is_dead() {
    let world = World::new().await;
    super::commands::keystore(world.dir.path(), "gas-key.json", &world.gas_key);
    for database in databases() {
        let ports = [free_port(), free_port()];
        for (name, port) in [("first.toml", ports[0]), ("second.toml", ports[1])] {
            let config = format!(
                "rpc_urls = [\"{}\"]\ndatabase = \"{}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:{port}\"\n\
                 payees = [\"{}\"]\n",
                world.anvil.url,
                database.url,
                world.payee()
            );
            std::fs::write(world.path(name), config).unwrap();
        }
        let mut first = Process::start(&world, "first.toml");
        until("the first runs", async || status(&world, ports[0]).await).await;

        let refused = command(&world, "second.toml").output().unwrap();
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("another settler works on this database") && said.contains("stop that one"), "{said}");
        assert!(status(&world, ports[0]).await.is_some(), "the first did not notice");

        first.0.kill().unwrap();
        first.0.wait().unwrap();
        let _second = Process::start(&world, "second.toml");
        until("the second runs", async || status(&world, ports[1]).await).await;
    }
}

/// Taken while it runs; the settler goes back to it, and the chain decides what happened since.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_pays_nothing_twice_and_takes_again_what_came_since() {
    for database in databases() {
        let world = World::new().await;
        let payer = world.payer("10").await;
        // Nothing is claimed unasked, however cheap gas gets.
        let database_url = database.url.clone();
        let config = minus_settler::Config { database: database_url, value_over_gas: u64::MAX, ..world.config() };
        let settler = world.settler_with(config.clone()).await;
        settler.record(world.voucher(&payer, "1")).await;
        settler.claim_now().await;
        settler.record(world.voucher(&payer, "2")).await;
        let copy = take_backup(&world, &database);
        settler.record(world.voucher(&payer, "3")).await;
        settler.claim_now().await;
        settler.record(world.voucher(&payer, "4")).await;
        settler.end().await;
        let spent = world.gas_transactions().await;

        let restored = restore(&database, &copy);
        let settler = world.settler_with(minus_settler::Config { database: restored, ..config }).await;
        let progress = settler.claim_now().await;
        assert_eq!(
            (world.gas_transactions().await, progress.open),
            (spent, 0),
            "what the chain has paid costs nothing"
        );
        assert_eq!(world.paid(&payer).await, tokens("3"));
        settler.hand_in(&[world.voucher(&payer, "3"), world.voucher(&payer, "4")]).await;
        settler.claim_now().await;
        assert_eq!((world.paid(&payer).await, world.earned().await), (tokens("4"), tokens("4")));
        settler.end().await;
    }
}

fn take_backup(world: &World, database: &Database) -> String {
    let copy = world.path("backup").display().to_string();
    match &database.server {
        None => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
            succeeds(command.args(["backup", &copy, "--database", &database.url]).stdout(Stdio::null()));
        }
        Some(server) => {
            let dump = server.program("pg_dump").arg("-Fc").arg(name(&database.url)).stdout(Stdio::piped()).output();
            std::fs::write(&copy, dump.unwrap().stdout).unwrap();
        }
    }
    copy
}

fn restore(database: &Database, copy: &str) -> String {
    match &database.server {
        None => {
            let file = database.folder.path().join("restored.db");
            std::fs::copy(copy, &file).unwrap();
            format!("sqlite:{}", file.display())
        }
        Some(server) => {
            let url = server.database();
            let dump = std::fs::File::open(copy).unwrap();
            succeeds(server.program("pg_restore").args(["-d", name(&url)]).stdin(dump));
            url
        }
    }
}

/// The database's name in a URL of PostgreSQL.
fn name(url: &str) -> &str {
    url.split(['/', '?']).nth(3).unwrap()
}
