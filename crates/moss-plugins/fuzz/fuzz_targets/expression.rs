//! Any text gives a value or an error within seconds, and no panic: `RUSTC_BOOTSTRAP=1 cargo fuzz run expression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    moss_plugins::fuzzing::expression(text);
});
