//! libFuzzer on [`minus_fuzz::reply`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::reply(data));
