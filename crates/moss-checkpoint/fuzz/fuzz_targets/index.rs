//! Any bytes give an answer or a typed error, never a panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run
//! index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moss_checkpoint::fuzzing::index(bytes);
});
