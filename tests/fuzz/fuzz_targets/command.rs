//! libFuzzer on [`minus_fuzz::command`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::command(data));
