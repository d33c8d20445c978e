//! Any bytes are a key file or a typed error, never a panic:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run key_file fuzz/corpus/key_file tests/bodies/key_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moss_server::fuzzing::key_file(bytes);
});
