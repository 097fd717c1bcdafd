//! The demo's road with real processes: once in peace, and once for each thing that must not go unnoticed.

use std::path::Path;
use std::process::Output;

use minus_tests::journey::random_file;
use minus_tests::world::binaries;

fn demo(folder: &Path, arguments: &[&str]) -> Output {
    let file = folder.join("a file.bin");
    random_file(&file, 700_000, 1).expect("the folder can be written");
    std::process::Command::new(binaries::program("demo"))
        .args(arguments)
        .arg(&file)
        .arg(minus_tests::compile::root().join("LICENSE"))
        .output()
        .expect("the demo can be run")
}

#[test]
fn ends_with_equal_books() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("are equal to the base unit"), "{text}");
}

#[test]
fn notices_one_flipped_byte_in_the_store() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &["--sabotage", "stored-byte"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAILED"), "{text}");
    assert!(!text.contains("are equal"), "{text}");
}

#[test]
fn notices_an_altered_voucher() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &["--sabotage", "voucher"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the books differ"), "{text}");
    assert!(!text.contains("are equal"), "{text}");
}
