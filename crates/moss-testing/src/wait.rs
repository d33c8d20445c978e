use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for any step of a test on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it does not hold within two minutes.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
