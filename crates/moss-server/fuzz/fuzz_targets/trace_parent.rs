//! Any bytes are a valid or an ignored `traceparent`, never a panic:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run trace_parent fuzz/corpus/trace_parent tests/bodies/trace_parent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moss_server::fuzzing::trace_parent(bytes);
});
