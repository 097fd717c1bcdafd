//! libFuzzer on [`minus_fuzz::bundle`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::bundle(data));
