//! Any bytes are a request or a typed error, never a panic:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run completion fuzz/corpus/completion tests/bodies/completion`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    moss_server::fuzzing::completion(body);
});
