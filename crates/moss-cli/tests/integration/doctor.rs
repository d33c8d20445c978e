//! `doctor`, on the machine of the tests.

use crate::support::{command, ok, run, text};
use serde_json::Value;

#[test]
fn a_machine_is_described_in_both_languages() {
    let english = ok(&["doctor", "--lang", "en", "--gpu", "cpu"], "");
    for part in [
        "program",
        "CPU",
        "GB/s (measured)",
        "models in",
        "moss-moon-003-sft-int4",
        "driver",
        "upper bound",
    ] {
        assert!(english.contains(part), "{part}: {english}");
    }
    let chinese = ok(&["doctor", "--lang", "zh", "--gpu", "cpu"], "");
    for part in ["程序", "模型位置", "驱动", "速度上限", "每词元"] {
        assert!(chinese.contains(part), "{part}: {chinese}");
    }
}

#[test]
fn the_selftest_passes_and_says_so_in_json() {
    let report: Value =
        serde_json::from_str(&ok(&["doctor", "--selftest", "--json", "--gpu", "cpu"], "")).unwrap();
    assert_eq!(report["selftest"]["passed"], true, "{report}");
    let transcripts = report["selftest"]["transcripts"].as_array().unwrap();
    assert_eq!(transcripts.len(), 2, "both demo models on the CPU");
    let rates = &report["cpu"]["tokens_per_s_at_most"];
    let rate = |format: &str| rates[format].as_f64().unwrap();
    assert!(rate("int4") > rate("int8") && rate("int8") > rate("fp16") && rate("fp16") > 0.0);
}

#[test]
fn a_selftest_that_fails_is_exit_status_1() {
    // The demo model cannot be unpacked.
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("a file, no folder");
    std::fs::write(&blocked, "").unwrap();
    let mut command = command(
        folder.path(),
        &["doctor", "--selftest", "--gpu", "cpu", "--lang", "en"],
    );
    let out = command.env("XDG_CACHE_HOME", &blocked).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout).contains("FAIL CPU"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn an_encoding_that_shows_no_chinese_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let with = |locale: &str| {
        let mut command = command(folder.path(), &["doctor", "--gpu", "cpu", "--lang", "en"]);
        text(&command.env("LC_ALL", locale).output().unwrap().stdout)
    };
    assert!(with("zh_CN.GB18030").contains("export LANG=C.UTF-8"));
    assert!(with("zh_CN.UTF-8").contains("UTF-8 (zh_CN.UTF-8)"));
}

#[test]
fn kernels_are_timed_on_one_gpu_alone() {
    let out = run(&["bench", "--kernels", "--gpu", "cpu"], "");
    let notes = text(&out.stderr);
    assert!(
        out.status.code() == Some(1) && notes.contains("one GPU") && notes.contains("hint:"),
        "{notes}"
    );
}
