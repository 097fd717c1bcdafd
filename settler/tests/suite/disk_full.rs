//! A disk that is full: what was answered as recorded stays, nothing more is answered so, and it goes on when there is room.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use minus_settler::api::IntakeResult::{Recorded, SameAsBefore};
use minus_settler::api::{ErrorAnswer, IntakeAnswer};
use minus_settler::store::VoucherState;
use serde_json::json;
use tempfile::TempDir;

use super::world::{World, tokens, until};

/// A small disk of its own, in memory. Gone with the test.
struct Disk(TempDir);

impl Disk {
    /// None, and a word about it, where nothing may be mounted.
    fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        let forbidden = std::env::var_os("MINUS_FORBID_SKIPS").is_some_and(|value| !value.is_empty());
        assert!(!forbidden, "no disk can be mounted, and one has to be");
        println!("skipped: no disk can be mounted");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// To the last byte.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        for size in [64 * 1_024, 4_096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a settler that was killed may hold a file of it for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_is_full_nothing_is_recorded_and_nothing_is_lost() {
    let Some(disk) = Disk::new() else { return };
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.database = format!("sqlite:{}", disk.0.path().join("settler.db").display());
    // Nothing is worth its gas, so that only intake writes.
    config.native_coin_price = "1000000000".into();
    let settler = world.settler_with(config.clone()).await;
    let voucher = |units: u32| world.voucher(&payer, &format!("0.{units:06}"));
    settler.record(voucher(1)).await;

    disk.fill();
    let (mut recorded, mut refused) = (1, 0);
    for units in 2..200 {
        let response = settler.post(json!({ "vouchers": [voucher(units)] }).to_string()).await;
        if response.status() == 200 {
            let answer: IntakeAnswer = response.json().await.unwrap();
            assert_eq!(answer.results, [Recorded]);
            recorded = units;
        } else {
            assert_eq!(response.status(), 503, "to be tried again");
            let answer: ErrorAnswer = response.json().await.unwrap();
            assert_eq!(answer.error, "nothing can be stored now, come back later");
            refused += 1;
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk is full");
    assert_eq!(settler.status().await.lanes[0].cumulative, tokens(&format!("0.{recorded:06}")), "as it was answered");

    std::fs::remove_file(disk.ballast()).unwrap();
    let last = voucher(500);
    until("there is room again", async || {
        let response = settler.post(json!({ "vouchers": [last] }).to_string()).await;
        if response.status() != 200 {
            return None;
        }
        let answer: IntakeAnswer = response.json().await.unwrap();
        assert!(matches!(answer.results[..], [Recorded | SameAsBefore]));
        Some(())
    })
    .await;
    settler.kill();

    let settler = world.settler_with(config).await;
    assert_eq!(settler.status().await.lanes[0].cumulative, last.cumulative, "through a power cut");
    let done = settler.claim_now().await;
    assert_eq!((done.confirmed, world.paid(&payer).await), (1, last.cumulative));
    assert_eq!(settler.status().await.summary.vouchers[&VoucherState::Confirmed].paid, last.cumulative);
    settler.end().await;
}
