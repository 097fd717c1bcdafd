//! What becomes of a store whose disk is full, whose space is given back, whose database dies.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Nobody, Store, StoreError,
    arrivals::Stored,
    database::Database,
    ledger::Ledger,
    packets,
    testing::{self, Postgres, WALLET, arrival, entrust, numbers, until},
};

fn file_bytes(folder: &Path) -> u64 {
    let length = |name| folder.join(name).metadata().map_or(0, |file| file.len());
    length("node.sqlite") + length("node.sqlite-wal")
}

#[tokio::test]
async fn the_space_of_deleted_packets_returns_to_the_file_system() {
    const PACKETS: u64 = 128;
    let (store, folder) = testing::store().await;
    entrust(&store).await;
    for number in 0..PACKETS {
        store.writer().arrive(arrival(number, 1 << 16)).await.expect("stored");
    }
    store.catch_up().await.expect("the store works");
    let full = file_bytes(folder.path());
    assert!(full > PACKETS << 16);
    let done = store.writer().write(|connection| Box::pin(packets::delete_through(connection, WALLET, PACKETS)));
    assert_eq!(done.await.expect("deleted").bytes, PACKETS << 16);
    until("the gaps are closed", || async { !store.writer().compact().await.expect("the store works") }).await;
    let left = file_bytes(folder.path());
    assert!(left < full / 4, "{left} bytes of {full} are left");
    assert!(numbers(&store).await.is_empty());
}

/// So many pages may the file have.
async fn allow_pages(store: &Store, pages: u32) {
    let pragma = format!("pragma max_page_count = {pages}");
    store.writer().execute(pragma).await.expect("a setting needs no room");
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_is_noticed_when_there_is_room_again() {
    let (store, _folder) = testing::store().await;
    entrust(&store).await;
    allow_pages(&store, 400).await;
    let mut stored = Vec::new();
    let refused = loop {
        let number = u64::try_from(stored.len()).expect("few");
        match store.writer().arrive(arrival(number, 1 << 15)).await {
            Ok(outcome) => {
                stored.push(number);
                let seq = number + 1;
                assert_eq!(outcome, Stored::New { seq });
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Database(_) | StoreError::NotCommitted), "{refused}");
    assert!(stored.len() > 10);
    assert!(store.problem().is_some(), "readiness says so");
    assert!(stored.starts_with(&numbers(&store).await), "some may be in the journal alone");

    allow_pages(&store, 1_000_000).await;
    until("it gets well by itself", || async { store.problem().is_none() }).await;
    let next = u64::try_from(stored.len()).expect("few");
    let outcome = store.writer().arrive(arrival(next, 1 << 15)).await.expect("there is room");
    assert_eq!(outcome, Stored::New { seq: next + 1 });
    stored.push(next);
    assert_eq!(numbers(&store).await, stored);
}

/// The space that somebody else's file takes.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// A file system of its own of six mebibytes. None, and a word about it, for who may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        println!("skipped: only root may mount a small disk");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// The disk fills while packets arrive: the journal meets its end first, or a step does.
#[tokio::test]
async fn a_disk_that_is_full_for_journal_and_tables_loses_nothing_and_is_used_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let other = disk.folder.path().join("somebody else's");
    std::fs::write(&other, vec![0; 3 << 20]).expect("there is room");
    let (store, task) = testing::opened(disk.folder.path(), None).await;
    entrust(&store).await;
    let mut stored = Vec::new();
    for round in 0..2 {
        while let Ok(outcome) = store.writer().arrive(arrival(stored.len().try_into().expect("few"), 4_096)).await {
            // What was refused may have become durable all the same; nobody was told.
            assert!(round > 0 || matches!(outcome, Stored::New { .. }));
            stored.push(u64::try_from(stored.len()).expect("few"));
            assert!(stored.len() < 2_000, "the disk is small");
        }
        assert!(store.problem().is_some(), "readiness says so");
        if round == 0 {
            assert!(stored.len() > 50);
            std::fs::remove_file(&other).expect("it is there");
            until("it gets well by itself", || async { store.problem().is_none() }).await;
        }
    }
    task.abort();
    let _ = task.await;
    // As after a power cut, on a disk that was made larger.
    let mut larger = Command::new("mount");
    let larger = larger.args(["-o", "remount,size=64m"]).arg(disk.folder.path()).status();
    assert!(larger.is_ok_and(|status| status.success()));
    let (store, _) = testing::reopened(disk.folder.path(), None).await;
    let there = numbers(&store).await;
    assert!(there.starts_with(&stored), "{} acknowledged, {there:?}", stored.len());
    assert!(there.len() <= stored.len() + 1);
}

/// A device of the kernel's that has no room, ever, in the place of the journal's files.
#[tokio::test]
async fn a_journal_without_room_refuses_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names = ["node.journal-0", "node.journal-1"].map(|name| folder.path().join(name));
    std::os::unix::fs::symlink("/dev/full", &names[0]).expect("a link");
    let (store, task) = testing::opened(folder.path(), None).await;
    entrust(&store).await;
    for number in 0..3 {
        let refused = store.writer().arrive(arrival(number, 100)).await;
        assert!(matches!(refused, Err(StoreError::NotCommitted)), "{refused:?}");
        assert!(store.problem().is_some_and(|problem| problem.contains("No space left")));
    }
    assert!(numbers(&store).await.is_empty());
    task.abort();
    let _ = task.await;
    let database = Database::at(folder.path(), None).expect("a path");
    let mut ledger = Ledger::connect(&database).await.expect("it is free again");
    ledger.restore().await.expect("there is nothing");
    assert!(ledger.probe().await.is_err(), "tables that can be written are not enough");
    drop(ledger);
    std::fs::remove_file(&names[0]).expect("it is there");
    let (store, _) = testing::reopened(folder.path(), None).await;
    let outcome = store.writer().arrive(arrival(0, 100)).await.expect("there is room");
    assert_eq!(outcome, Stored::New { seq: 1 }, "nothing was charged");
}

#[tokio::test]
async fn what_postgresql_acknowledged_survives_its_death() {
    let Some(mut server) = Postgres::start().await else { return };
    let url = server.database().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = testing::open(folder.path(), Some(&url)).await;
    let second = Store::open(folder.path(), Some(&url), std::sync::Arc::new(Nobody), std::sync::Arc::default()).await;
    assert!(matches!(second, Err(StoreError::Taken)), "one node at a time");
    entrust(&store).await;

    let mut acknowledged = Vec::new();
    for round in 0..3_u64 {
        let sent: Vec<_> = (round * 100..round * 100 + 64).collect();
        let answers = sent.iter().map(|number| store.writer().arrive(arrival(*number, 1_024)));
        let arriving = futures_util::future::join_all(answers);
        let answers = if round == 0 {
            let answers = arriving.await;
            server.kill();
            answers
        } else {
            // In the middle of it: some are acknowledged, some are not, and those may be there all the same.
            tokio::pin!(arriving);
            let early = tokio::time::timeout(Duration::from_millis(round), &mut arriving).await;
            server.kill();
            match early {
                Ok(answers) => answers,
                Err(_) => arriving.await,
            }
        };
        let stored = sent.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        acknowledged.extend(stored.map(|(number, _)| *number));
        assert!(store.writer().arrive(arrival(u64::MAX, 10)).await.is_err(), "it is dead");
        assert!(store.problem().is_some());
        server.revive().await;
        until("the writer finds its database again", || async { store.problem().is_none() }).await;
        let there = numbers(&store).await;
        assert!(acknowledged.iter().all(|number| there.contains(number)), "{acknowledged:?} in {there:?}");
    }
    assert!(acknowledged.len() >= 64);
    // What was not acknowledged is sent again: stored, or known as stored.
    for number in (0..3_u64).flat_map(|round| round * 100..round * 100 + 64) {
        let again = store.writer().arrive(arrival(number, 1_024)).await.expect("it lives");
        assert_ne!(again, Stored::NotEntrusted);
    }
    let mut there = numbers(&store).await;
    there.sort_unstable();
    assert_eq!(there.len(), 3 * 64, "each once");
    there.dedup();
    assert_eq!(there.len(), 3 * 64);
    store.close().await;
}
