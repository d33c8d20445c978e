//! `download --verify`.

use std::fs;

use moss_testing::hub::WEIGHTS;

use super::{SHORT, asking, hub, run, snapshot};
use crate::support::text;

#[test]
fn verify_names_damaged_files_and_with_yes_downloads_them_again() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let verify = |more: &[&str]| {
        run(
            asking(
                home.path(),
                &hub,
                &[&["download", SHORT, "--verify"], more].concat(),
            ),
            "",
        )
    };
    let out = verify(&[]);
    assert_eq!(
        out.status.code(),
        Some(1),
        "nothing is there: {}",
        text(&out.stderr)
    );
    assert!(
        run(asking(home.path(), &hub, &["download", SHORT]), "")
            .status
            .success()
    );
    for more in [&[][..], &["--offline"]] {
        let out = verify(more);
        assert!(
            out.status.success() && text(&out.stderr).contains("all match"),
            "{}",
            text(&out.stderr)
        );
        assert_eq!(
            text(&out.stdout).trim_end(),
            snapshot(home.path()).display().to_string()
        );
    }
    let weights = snapshot(home.path()).join(WEIGHTS);
    let mut bytes = fs::read(&weights).unwrap();
    bytes[1000] ^= 0x40;
    fs::write(&weights, bytes).unwrap();
    for more in [
        &[][..],
        &["--offline"],
        &["--quiet"],
        &["--endpoint", "http://127.0.0.1:9"],
        &["--lang", "zh"],
    ] {
        let out = verify(more);
        let notes = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{more:?}: {notes}");
        let colon = if more.contains(&"zh") { "：" } else { ": " };
        for part in [&format!("\n  {WEIGHTS}{colon}"), "blobs", "--verify --yes"] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        assert!(!notes.contains("config.json"), "{notes}");
        // Each damaged file, and the cause of a missing listing, is on a separate line.
        assert!(!notes.contains("\\n"), "{notes}");
        if more.contains(&"--endpoint") {
            assert!(notes.contains("in the cache\n  cannot download"), "{notes}");
        }
    }
    let out = verify(&["--yes", "--offline"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("offline"),
        "{}",
        text(&out.stderr)
    );
    hub.take_requests();
    let out = verify(&["--yes"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(hub.sent(WEIGHTS), hub.file(WEIGHTS).len());
    assert_eq!(
        hub.sent("config.json"),
        0,
        "only what is damaged comes again"
    );
    assert_eq!(fs::read(weights).unwrap(), hub.file(WEIGHTS));
    assert!(verify(&[]).status.success());
}
