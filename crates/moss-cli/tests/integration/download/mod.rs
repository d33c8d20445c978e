//! Downloads by the built binary, from a hub on this machine.

mod chat;
#[cfg(target_os = "linux")]
mod file_systems;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use moss_testing::{
    demo,
    hub::{Behavior, COMMIT, HubServer, WEIGHTS},
    wait_until,
};

use crate::support::{command, output, text};

const SHORT: &str = "moss-moon-003-sft-int4";

/// A hub that serves the demo model under the id of a published one.
fn hub() -> HubServer {
    HubServer::of_folder(demo("moss-demo-int4"))
}

/// The binary with this hub and an empty cache in `home`.
fn asking(home: &Path, hub: &HubServer, args: &[&str]) -> Command {
    let mut command = command(home, &[&["--temperature", "0"], args].concat());
    command
        .env("LANG", "C.UTF-8")
        .env("HF_ENDPOINT", &hub.address)
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

fn run(command: Command, input: &str) -> Output {
    output(command, input.as_bytes())
}

fn snapshot(home: &Path) -> PathBuf {
    home.join("cache/huggingface/hub/models--fnlp--moss-moon-003-sft-int4/snapshots")
        .join(COMMIT)
}

/// Returns how many bytes of the weights are on disk according to the journal, which consists of
/// ranges of 16 bytes each: start and end.
fn recorded_bytes(home: &Path) -> u64 {
    let blobs = home.join("cache/huggingface/hub/models--fnlp--moss-moon-003-sft-int4/blobs");
    let mut entries = fs::read_dir(blobs).into_iter().flatten().flatten();
    let journal = entries
        .find(|entry| entry.path().to_string_lossy().ends_with(".moss-journal"))
        .and_then(|entry| fs::read(entry.path()).ok())
        .unwrap_or_default();
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let ranges = journal.chunks_exact(16);
    ranges
        .map(|range| number(&range[8..]) - number(&range[..8]))
        .sum()
}

#[test]
fn offline_overrides_every_other_flag() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let mut by_variable = asking(home.path(), &hub, &["--model", SHORT, "--yes"]);
    by_variable.env("HF_HUB_OFFLINE", "1");
    let by_flag = asking(home.path(), &hub, &["download", SHORT, "--offline"]);
    for command in [by_variable, by_flag] {
        let out = run(command, "");
        assert_eq!(out.status.code(), Some(1));
        let notes = text(&out.stderr);
        assert!(
            notes.contains("offline") && notes.contains(&format!("./fnlp/{SHORT} ")),
            "{notes}"
        );
    }
    assert!(hub.take_requests().is_empty());
}

#[test]
fn a_process_killed_at_any_byte_has_lost_nothing() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let download = || asking(home.path(), &hub, &["download", SHORT]);
    hub.behave_for(WEIGHTS, Behavior::Throttle(200_000));
    for bytes in [70_001, 33_333, 101_010, 51_234] {
        let (recorded, enough) = (recorded_bytes(home.path()), hub.sent(WEIGHTS) + bytes);
        let mut child = download().spawn().unwrap();
        wait_until("the bytes and their record in the journal", || {
            assert!(child.try_wait().unwrap().is_none(), "the download ended");
            hub.sent(WEIGHTS) >= enough && recorded_bytes(home.path()) > recorded
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!snapshot(home.path()).join(WEIGHTS).exists());
    }
    hub.behave(|_| Behavior::Normal);
    let out = run(download(), "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(
        text(&out.stdout).trim_end(),
        snapshot(home.path()).display().to_string()
    );
    assert_eq!(
        fs::read(snapshot(home.path()).join(WEIGHTS)).unwrap(),
        hub.file(WEIGHTS)
    );
    let requests = hub.take_requests();
    let starts: Vec<_> = requests
        .iter()
        .filter(|r| r.is_for(WEIGHTS))
        .map(|r| r.range.as_ref().unwrap().start)
        .collect();
    assert_eq!(starts[0], 0);
    assert!(
        starts.len() == 5 && starts.is_sorted_by(|a, b| a < b),
        "each download resumes the one before: {starts:?}"
    );
    let configs = requests
        .iter()
        .filter(|request| request.is_for("config.json"))
        .count();
    assert_eq!(configs, 1, "complete files are not downloaded again");
}

#[test]
fn two_processes_fetch_a_model_once() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let children = [(), ()].map(|()| {
        asking(home.path(), &hub, &["download", SHORT])
            .spawn()
            .unwrap()
    });
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
    assert_eq!(hub.sent(WEIGHTS), hub.file(WEIGHTS).len());
}

#[test]
fn modelscope_answers_at_the_address_of_a_flag_or_a_variable() {
    let ways: [(&[&str], &[&str]); 4] = [
        (&["--endpoint"], &[]),
        (&[], &["MODELSCOPE_ENDPOINT"]),
        (&[], &["MODELSCOPE_DOMAIN"]),
        (
            &["--endpoint"],
            &["MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"],
        ),
    ];
    for (flags, variables) in ways {
        let (home, hub, other) = (tempfile::tempdir().unwrap(), hub(), hub());
        let mut args = vec!["download", SHORT, "--source", "modelscope"];
        args.extend(flags.iter().flat_map(|flag| [*flag, hub.address.as_str()]));
        let mut command = asking(home.path(), &other, &args); // HF_ENDPOINT is the other hub's
        let address = if flags.is_empty() {
            &hub.address
        } else {
            &other.address
        };
        command
            .env("HF_TOKEN", "hf_secret")
            .envs(variables.iter().map(|name| (name, address)));
        let out = run(command, "");
        assert!(out.status.success(), "{variables:?}: {}", text(&out.stderr));
        let folder = PathBuf::from(text(&out.stdout).trim_end());
        assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), hub.file(WEIGHTS));
        assert!(other.take_requests().is_empty(), "{variables:?}");
        let asked = hub.take_requests();
        assert!(
            asked
                .iter()
                .all(|request| request.path.contains("AI-ModelScope/") && request.token.is_none())
        );
    }
}

#[test]
fn a_login_stays_with_its_hub_and_a_token_variable_goes_to_any_endpoint() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    fs::create_dir_all(home.path().join("cache/huggingface")).unwrap();
    fs::write(home.path().join("cache/huggingface/token"), "hf_login\n").unwrap();
    run(asking(home.path(), &hub, &["download", SHORT]), "");
    let requests = hub.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.token.is_none()));
    let mut with_token = asking(home.path(), &hub, &["download", SHORT]);
    with_token.env("HF_TOKEN", "hf_variable");
    run(with_token, "");
    assert_eq!(
        hub.take_requests()[0].token.as_deref(),
        Some("Bearer hf_variable")
    );
}

#[test]
fn proxies_are_the_environments() {
    let (home, hub, proxy) = (tempfile::tempdir().unwrap(), hub(), hub());
    proxy.behave(|_| Behavior::Status(404, None));
    let mut through = asking(home.path(), &hub, &["download", SHORT]);
    through.env("http_proxy", &proxy.address);
    assert!(!run(through, "").status.success());
    assert!(hub.take_requests().is_empty() && !proxy.take_requests().is_empty());
    let mut around = asking(home.path(), &hub, &["download", SHORT]);
    around
        .env("http_proxy", &proxy.address)
        .env("NO_PROXY", "localhost, 127.0.0.1");
    assert!(run(around, "").status.success());
    assert!(proxy.take_requests().is_empty());
}

#[test]
fn failures_name_address_status_file_and_what_to_do() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave_for(WEIGHTS, Behavior::Status(403, None));
    let out = run(asking(home.path(), &hub, &["download", SHORT]), "");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in [
        &hub.address,
        "403",
        WEIGHTS,
        "hint:",
        "HF_ENDPOINT",
        "modelscope",
        "./fnlp/NAME",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let out = run(asking(home.path(), &hub, &["download", "moss-mon-003"]), "");
    assert!(text(&out.stderr).contains("ORGANISATION/NAME"));
}
