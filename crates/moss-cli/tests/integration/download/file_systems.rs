//! File systems without `flock` or without hard links.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use moss_testing::{
    demo, file_names, fixture,
    hub::{Behavior, WEIGHTS},
    wait_until,
};

use super::{SHORT, asking, hub, run, snapshot};
use crate::support::{command, text};

/// Compiles a library of `tests/fixtures/shims` for `LD_PRELOAD`.
fn shim(name: &str, folder: &Path) -> PathBuf {
    let source = fixture("shims").join(name).with_extension("c");
    let library = folder.join(name).with_extension("so");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(made.unwrap().success());
    library
}

#[test]
fn downloads_work_on_a_file_system_without_flock() {
    // ENOSYS, ENOLCK, EINVAL, ENOTSUP (the same number as EOPNOTSUPP), EPERM, EIO.
    for number in ["38", "37", "22", "95", "1", "5"] {
        let (home, hub) = (tempfile::tempdir().unwrap(), hub());
        let library = shim("flock", home.path());
        let without_flock = || {
            let mut command = asking(home.path(), &hub, &["download", SHORT]);
            command
                .env("LD_PRELOAD", &library)
                .env("FLOCK_ERRNO", number);
            command
        };
        let children = [(), ()].map(|()| without_flock().spawn().unwrap());
        for child in children {
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{number}: {}", text(&out.stderr));
        }
        assert_eq!(
            hub.sent(WEIGHTS),
            hub.file(WEIGHTS).len(),
            "one of the two processes downloads each file"
        );
        assert_eq!(
            fs::read(snapshot(home.path()).join(WEIGHTS)).unwrap(),
            hub.file(WEIGHTS)
        );
        let locks = home
            .path()
            .join("cache/huggingface/hub/.locks/models--fnlp--moss-moon-003-sft-int4");
        // A file that is left there would block huggingface_hub.
        assert_eq!(file_names(locks), [""; 0]);
    }
}

#[test]
fn without_flock_the_lock_of_a_killed_process_is_taken_over_at_once() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let library = shim("flock", home.path());
    let without_flock = || {
        let mut command = asking(home.path(), &hub, &["download", SHORT]);
        command.env("LD_PRELOAD", &library);
        command
    };
    hub.behave_for(WEIGHTS, Behavior::Stall(100));
    let mut child = without_flock().spawn().unwrap();
    wait_until("the first bytes", || hub.sent(WEIGHTS) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    hub.behave(|_| Behavior::Normal);
    let start = Instant::now();
    let out = run(without_flock(), "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    // The lock of a process that may still exist is taken over after a minute.
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn conversions_work_on_a_file_system_without_flock() {
    let home = tempfile::tempdir().unwrap();
    let library = shim("flock", home.path());
    let demo = demo("moss-demo-int4");
    let args = [
        "convert",
        demo.to_str().unwrap(),
        "new",
        "--to",
        "safetensors",
    ];
    let mut convert = command(home.path(), &args);
    convert.env("LD_PRELOAD", &library);
    let out = run(convert, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let mut names = file_names(home.path().join("new")).into_iter();
    assert!(!names.any(|name| name.starts_with("unfinished")));
    assert!(!home.path().join("new.unfinished").exists());
}

#[test]
fn without_links_twice_the_space_is_required_up_front() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let out = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(home.path())
        .output()
        .unwrap();
    let free: u64 = text(&out.stdout)
        .lines()
        .nth(1)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    hub.behave(move |_| Behavior::ListedBytes(free / 5 * 3)); // once fits, twice does not
    let mut without_links = asking(home.path(), &hub, &["download", SHORT]);
    without_links.env("LD_PRELOAD", shim("links", home.path()));
    let out = run(without_links, "");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{notes}");
    for part in ["bytes free", "twice", "HF_HUB_CACHE"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let asked = hub.take_requests();
    assert!(
        asked
            .iter()
            .all(|request| request.path.starts_with("/api/")),
        "{asked:?}"
    );
    // With enough space for two copies, the snapshot consists of copies.
    hub.behave(|_| Behavior::Normal);
    let mut without_links = asking(home.path(), &hub, &["download", SHORT]);
    without_links.env("LD_PRELOAD", home.path().join("links.so"));
    let out = run(without_links, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let weights = snapshot(home.path()).join(WEIGHTS);
    assert!(fs::symlink_metadata(&weights).unwrap().is_file());
    assert_eq!(fs::read(weights).unwrap(), hub.file(WEIGHTS));
}
