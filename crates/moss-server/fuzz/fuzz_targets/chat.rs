//! Any bytes are a request or a typed error, never a panic:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run chat fuzz/corpus/chat tests/bodies/chat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    moss_server::fuzzing::chat(body);
});
