//! libFuzzer on [`minus_fuzz::text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::text(data));
