//! Any bytes give a result or a fault, and no panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moss_prompt_cache::fuzzing::file(bytes);
});
