//! Any bytes give a result or a typed error, and no panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run
//! pickle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moss_checkpoint::fuzzing::pickle(bytes);
});
