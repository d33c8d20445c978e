//! Any text gives calls that are parts of it, and no panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    moss_plugins::fuzzing::commands(text);
});
