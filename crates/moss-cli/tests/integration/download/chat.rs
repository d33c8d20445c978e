//! Downloads that `chat` and `serve` start.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use moss_testing::hub::{Behavior, COMMIT, HubServer, ID, WEIGHTS};

use super::{SHORT, asking, hub, run, snapshot};
use crate::support::{server::ServerProcess, terminal::TIMEOUT_MS, text};

#[test]
fn a_model_that_is_missing_comes_on_first_use_and_answers_and_needs_no_hub_again() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let out = run(
        asking(home.path(), &hub, &["--model", SHORT, "--yes"]),
        "Who are you?\n",
    );
    let notes = text(&out.stderr);
    assert!(
        out.status.success() && text(&out.stdout).contains("demo model"),
        "{notes}"
    );
    let folder = snapshot(home.path()).display().to_string();
    for part in [
        ID,
        "AGPL-3.0",
        " MB in ",
        &hub.address,
        &folder,
        "pytorch_model.bin: verifying",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(
        !notes.contains('\r') && !notes.contains('\x1b'),
        "plain lines where no terminal is: {notes:?}"
    );
    hub.take_requests();
    let out = run(
        asking(home.path(), &hub, &["--model", SHORT]),
        "Who are you?\n",
    );
    assert!(
        text(&out.stdout).contains("demo model"),
        "{}",
        text(&out.stderr)
    );
    assert!(hub.take_requests().is_empty());
}

#[test]
fn without_a_terminal_no_question_is_asked_and_nothing_is_downloaded() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let out = run(asking(home.path(), &hub, &["--model", SHORT]), "yes\n");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in [
        "no terminal on which to ask",
        "searched",
        "--yes",
        "moss-cli download",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(hub.take_requests().is_empty());
}

/// Writes an incomplete snapshot, as huggingface_hub leaves it after an interruption or a download
/// of single files.
#[cfg(unix)]
fn partial_snapshot(home: &Path, hub: &HubServer, files: &[&str]) {
    let model = home.join("cache/huggingface/hub/models--fnlp--moss-moon-003-sft-int4");
    let folder = model.join("snapshots").join(COMMIT);
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::create_dir_all(model.join("blobs")).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    for name in files {
        fs::write(folder.join(name), hub.file(name)).unwrap();
    }
    if !files.contains(&"merges.txt") {
        std::os::unix::fs::symlink("../../blobs/absent", folder.join("merges.txt")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_partial_snapshot_is_completed_with_yes_by_a_chat_and_by_serve() {
    for files in [
        &["config.json"][..],
        &["config.json", WEIGHTS],
        &["config.json", WEIGHTS, "vocab.json", "merges.txt"], // the added tokens are missing
    ] {
        let (home, hub) = (tempfile::tempdir().unwrap(), hub());
        partial_snapshot(home.path(), &hub, files);
        let out = run(
            asking(home.path(), &hub, &["--model", SHORT, "--yes"]),
            "Who are you?\n",
        );
        assert!(
            text(&out.stdout).contains("demo model"),
            "{files:?}: {}",
            text(&out.stderr)
        );

        let (home, hub) = (tempfile::tempdir().unwrap(), self::hub());
        partial_snapshot(home.path(), &hub, files);
        let args = [
            "serve", "--model", SHORT, "--yes", "--port", "0", "--gpu", "cpu",
        ];
        drop(ServerProcess::start(asking(home.path(), &hub, &args)));
        assert_eq!(
            fs::read(snapshot(home.path()).join("merges.txt")).unwrap(),
            hub.file("merges.txt")
        );
    }
}

#[test]
fn without_a_network_a_chat_says_so_within_seconds_and_mentions_the_demo() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    for (language, words) in [
        ("en", ["cannot connect", "--demo"]),
        ("zh", ["无法连接", "--demo"]),
    ] {
        for address in ["http://127.0.0.1:9", "https://hub.invalid"] {
            let args = [
                "--model",
                SHORT,
                "--yes",
                "--lang",
                language,
                "--endpoint",
                address,
            ];
            let start = Instant::now();
            let out = run(asking(home.path(), &hub, &args), "hello\n");
            let notes = text(&out.stderr);
            assert!(start.elapsed() < Duration::from_secs(60), "{notes}");
            assert_eq!(out.status.code(), Some(1));
            assert!(words.iter().all(|word| notes.contains(word)), "{notes}");
        }
    }
}

#[cfg(unix)]
#[test]
fn at_a_terminal_it_asks_and_takes_no_for_an_answer() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave_for(WEIGHTS, Behavior::Throttle(200_000));
    let session = |language: &str| {
        let piped = asking(home.path(), &hub, &["--model", SHORT, "--lang", language]);
        let mut command = Command::new(piped.get_program()); // without pipes
        command
            .args(piped.get_args())
            .current_dir(home.path())
            .env_clear()
            .env("TERM", "xterm");
        command.envs(
            piped
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        rexpect::session::spawn_command(command, Some(TIMEOUT_MS)).unwrap()
    };
    let mut english = session("en");
    english.exp_string("AGPL-3.0").unwrap();
    english.exp_string("Download it? [y/N] ").unwrap();
    english.send_line("n").unwrap();
    english.exp_string("was declined").unwrap();
    english.exp_eof().unwrap();
    assert_eq!(hub.sent(WEIGHTS), 0);
    // The session decodes bytes as Latin-1.
    let bytes = |text: &str| text.bytes().map(char::from).collect::<String>();
    let mut chinese = session("zh");
    chinese.exp_string(&bytes("现在下载吗？")).unwrap();
    chinese.send_line("y").unwrap();
    chinese.exp_string("MB/s").unwrap(); // the progress bar
    hub.behave(|_| Behavior::Normal);
    chinese.exp_string("<|Human|>: ").unwrap();
}
