#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rotate::fuzz::replay(data));
