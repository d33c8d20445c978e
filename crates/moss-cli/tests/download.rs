//! Downloads by the built binary, from a hub on this machine.
#![allow(clippy::unwrap_used)]

#[path = "../../moss-hub/tests/stand_in/mod.rs"]
mod stand_in;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};

use stand_in::{COMMIT, ID, Manner, StandIn, WEIGHTS};
use support::{command, text};

const SHORT: &str = "moss-moon-003-sft-int4";

/// A hub that has the demo model under a published one's name.
fn hub() -> StandIn {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/moss-demo-int4");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    StandIn::serve(
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect(),
    )
}

fn asking(home: &Path, hub: &StandIn, args: &[&str]) -> Command {
    let mut command = command(home, &[&["--temperature", "0"], args].concat());
    command.env("LANG", "C.UTF-8").env("HF_ENDPOINT", &hub.address).env("XDG_CACHE_HOME", home.join("cache"));
    command
}

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

fn snapshot(home: &Path) -> PathBuf {
    home.join("cache/huggingface/hub/models--fnlp--moss-moon-003-sft-int4/snapshots").join(COMMIT)
}

#[test]
fn a_model_that_is_missing_comes_on_first_use_and_answers_and_needs_no_hub_again() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let out = run(asking(home.path(), &hub, &["--model", SHORT, "--yes"]), "Who are you?\n");
    let notes = text(&out.stderr);
    assert!(out.status.success() && text(&out.stdout).contains("demo model"), "{notes}");
    let folder = snapshot(home.path()).display().to_string();
    for part in [ID, "AGPL-3.0", " MB in ", &hub.address, &folder, "pytorch_model.bin: verifying"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(!notes.contains('\r') && !notes.contains('\x1b'), "plain lines where no terminal is: {notes:?}");
    hub.take_requests();
    let out = run(asking(home.path(), &hub, &["--model", SHORT]), "Who are you?\n");
    assert!(text(&out.stdout).contains("demo model"), "{}", text(&out.stderr));
    assert!(hub.take_requests().is_empty());
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nothing_is_fetched() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let out = run(asking(home.path(), &hub, &["--model", SHORT]), "yes\n");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in ["no terminal", "looked in", "--yes", "moss-cli download"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(hub.take_requests().is_empty());
}

#[test]
fn offline_is_kept_to_whatever_else_is_asked_for() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let mut by_variable = asking(home.path(), &hub, &["--model", SHORT, "--yes"]);
    by_variable.env("HF_HUB_OFFLINE", "1");
    let by_flag = asking(home.path(), &hub, &["download", SHORT, "--offline"]);
    for command in [by_variable, by_flag] {
        let out = run(command, "");
        assert_eq!(out.status.code(), Some(1));
        let notes = text(&out.stderr);
        assert!(notes.contains("offline") && notes.contains("./fnlp/NAME"), "{notes}");
    }
    assert!(hub.take_requests().is_empty());
}

#[test]
fn a_process_killed_at_any_byte_has_lost_nothing() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let download = || asking(home.path(), &hub, &["download", SHORT]);
    hub.behave(|request| if request.is_for(WEIGHTS) { Manner::Throttle(200_000) } else { Manner::Honest });
    for bytes in [70_001, 33_333, 101_010, 51_234] {
        let mut child = download().spawn().unwrap();
        let enough = hub.sent(WEIGHTS) + bytes;
        while hub.sent(WEIGHTS) < enough {
            assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!snapshot(home.path()).join(WEIGHTS).exists());
    }
    hub.behave(|_| Manner::Honest);
    let out = run(download(), "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout).trim_end(), snapshot(home.path()).display().to_string());
    assert_eq!(fs::read(snapshot(home.path()).join(WEIGHTS)).unwrap(), hub.file(WEIGHTS));
    let requests = hub.take_requests();
    let starts: Vec<_> =
        requests.iter().filter(|r| r.is_for(WEIGHTS)).map(|r| r.range.as_ref().unwrap().start).collect();
    assert_eq!(starts[0], 0);
    assert!(
        starts.len() == 5 && starts.is_sorted_by(|a, b| a < b),
        "each goes on where one stopped: {starts:?}"
    );
    let configs = requests.iter().filter(|request| request.is_for("config.json")).count();
    assert_eq!(configs, 1, "what is whole is not fetched again");
}

#[test]
fn two_processes_fetch_a_model_once() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let children = [(), ()].map(|()| asking(home.path(), &hub, &["download", SHORT]).spawn().unwrap());
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
    assert_eq!(hub.sent(WEIGHTS), hub.file(WEIGHTS).len());
}

#[test]
fn a_login_stays_with_the_hub_it_was_made_for_and_a_variable_goes_where_it_is_told() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    fs::create_dir_all(home.path().join("cache/huggingface")).unwrap();
    fs::write(home.path().join("cache/huggingface/token"), "hf_login\n").unwrap();
    run(asking(home.path(), &hub, &["download", SHORT]), "");
    let requests = hub.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.token.is_none()));
    let mut with_token = asking(home.path(), &hub, &["download", SHORT]);
    with_token.env("HF_TOKEN", "hf_variable");
    run(with_token, "");
    assert_eq!(hub.take_requests()[0].token.as_deref(), Some("Bearer hf_variable"));
}

#[test]
fn proxies_are_the_environments() {
    let (home, hub, proxy) = (tempfile::tempdir().unwrap(), hub(), hub());
    proxy.behave(|_| Manner::Status(404, None));
    let mut through = asking(home.path(), &hub, &["download", SHORT]);
    through.env("http_proxy", &proxy.address);
    assert!(!run(through, "").status.success());
    assert!(hub.take_requests().is_empty() && !proxy.take_requests().is_empty());
    let mut around = asking(home.path(), &hub, &["download", SHORT]);
    around.env("http_proxy", &proxy.address).env("NO_PROXY", "localhost, 127.0.0.1");
    assert!(run(around, "").status.success());
    assert!(proxy.take_requests().is_empty());
}

#[test]
fn failures_name_address_status_file_and_what_to_do() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave(|request| if request.is_for(WEIGHTS) { Manner::Status(403, None) } else { Manner::Honest });
    let out = run(asking(home.path(), &hub, &["download", SHORT]), "");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in [&hub.address, "403", WEIGHTS, "hint:", "HF_ENDPOINT", "modelscope", "./fnlp/NAME"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let out = run(asking(home.path(), &hub, &["download", "moss-mon-003"]), "");
    assert!(text(&out.stderr).contains("ORGANISATION/NAME"));
}

#[cfg(unix)]
#[test]
fn at_a_terminal_it_asks_and_takes_no_for_an_answer() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave(|request| if request.is_for(WEIGHTS) { Manner::Throttle(200_000) } else { Manner::Honest });
    let session = |language: &str| {
        let piped = asking(home.path(), &hub, &["--model", SHORT, "--lang", language]);
        let mut command = Command::new(piped.get_program()); // without its pipes
        command.args(piped.get_args()).current_dir(home.path()).env_clear().env("TERM", "xterm");
        command.envs(piped.get_envs().filter_map(|(name, value)| Some((name, value?))));
        rexpect::session::spawn_command(command, Some(60_000)).unwrap()
    };
    let mut english = session("en");
    english.exp_string("AGPL-3.0").unwrap();
    english.exp_string("Download it? [y/N] ").unwrap();
    english.send_line("n").unwrap();
    english.exp_string("was not downloaded").unwrap();
    english.exp_eof().unwrap();
    assert_eq!(hub.sent(WEIGHTS), 0);
    let bytes = |text: &str| text.bytes().map(char::from).collect::<String>(); // the session reads bytes
    let mut chinese = session("zh");
    chinese.exp_string(&bytes("现在下载吗？")).unwrap();
    chinese.send_line("y").unwrap();
    chinese.exp_string("MB/s").unwrap(); // the bar
    hub.behave(|_| Manner::Honest);
    chinese.exp_string("<|Human|>: ").unwrap();
}
