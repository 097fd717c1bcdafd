//! libFuzzer on [`minus_fuzz::rows`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::rows(data));
