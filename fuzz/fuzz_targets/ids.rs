#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flop::fuzzing::ids(bytes));
