//! Every run replays the fuzz targets over their corpora, without libFuzzer: seeds, and whatever was found once.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the root of another crate")]
mod targets;

use std::fs;
use std::path::Path;

use minus_tests::compile::root;

fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|file| {
            let path = file.expect("a file of the corpus").path();
            (path.display().to_string(), fs::read(&path).expect("a file of the corpus can be read"))
        })
        .collect()
}

#[test]
fn every_corpus_replays() {
    let corpus = root().join("tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs = inputs(&corpus.join(name));
        assert!(inputs.len() >= 3, "{name} has lost its corpus");
        for (file, input) in inputs {
            // Named before, for the output of a failure.
            println!("{file}");
            target(&input);
        }
    }
}

/// What changes one byte, or cuts an input short, is what a fuzzer tries first.
#[test]
fn every_input_replays_with_each_byte_changed_and_cut() {
    /// Inputs are small; the largest are changed at so many places, evenly.
    const PLACES: usize = 48;
    let corpus = root().join("tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        for (file, input) in inputs(&corpus.join(name)) {
            println!("{file}");
            for place in (0..input.len()).step_by(input.len().div_ceil(PLACES).max(1)) {
                target(&input[..place]);
                for bits in [0x01, 0x80, 0xff] {
                    let mut changed = input.clone();
                    changed[place] ^= bits;
                    target(&changed);
                }
            }
        }
    }
}

/// A target that nobody calls finds nothing: each has its program, its corpus and its place in the list.
#[test]
fn targets_programs_and_corpora_are_the_same() {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join("tests/fuzz").join(folder)).expect("a folder of tests/fuzz");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    };
    let mut targets: Vec<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort_unstable();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}
