//! Locks where `flock` works. The command-line tests run without it, through a preloaded library.
#![allow(clippy::unwrap_used)]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use moss_lock::{FileLock, holder_path};
use moss_testing::wait_until;

#[test]
fn a_second_attempt_fails_until_the_first_lock_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let first = FileLock::try_acquire(&path).unwrap().unwrap();
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    if first.is_flock() {
        assert!(!holder_path(&path).exists());
    }
    drop(first);
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
}

#[test]
fn waiting_is_reported_once_and_only_if_the_lock_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let reported = AtomicUsize::new(0);
    let report = || {
        reported.fetch_add(1, Ordering::SeqCst);
    };
    let first = FileLock::acquire(&path, || panic!("the lock is free")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| FileLock::acquire(&path, report).unwrap());
        // A second message would follow at once.
        wait_until("the message", || reported.load(Ordering::SeqCst) > 0);
        thread::sleep(Duration::from_millis(200));
        drop(first);
    });
    assert_eq!(reported.into_inner(), 1);
}

#[test]
fn the_text_of_another_program_in_the_locked_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    std::fs::write(&path, "1234\nhost\n").unwrap();
    let _lock = FileLock::try_acquire(&path).unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234\nhost\n");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(FileLock::try_acquire(&folder.path().join("none/lock")).is_err());
}
