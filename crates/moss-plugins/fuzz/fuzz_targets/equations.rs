//! Any text gives solutions or an error within seconds, and no panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run equations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    moss_plugins::fuzzing::equations(text);
});
