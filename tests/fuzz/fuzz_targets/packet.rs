//! libFuzzer on [`minus_fuzz::packet`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| minus_fuzz::packet(data));
