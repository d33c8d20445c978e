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
        files
            .map(|file| {
                (
                    file.file_name().into_string().unwrap(),
                    fs::read(file.path()).unwrap(),
                )
            })
            .collect(),
    )
}

fn asking(home: &Path, hub: &StandIn, args: &[&str]) -> Command {
    let mut command = command(home, &[&["--temperature", "0"], args].concat());
    command
        .env("LANG", "C.UTF-8")
        .env("HF_ENDPOINT", &hub.address)
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

fn snapshot(home: &Path) -> PathBuf {
    home.join("cache/huggingface/hub/models--fnlp--moss-moon-003-sft-int4/snapshots")
        .join(COMMIT)
}

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
        assert!(
            notes.contains("offline") && notes.contains("./fnlp/NAME"),
            "{notes}"
        );
    }
    assert!(hub.take_requests().is_empty());
}

#[test]
fn a_process_killed_at_any_byte_has_lost_nothing() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let download = || asking(home.path(), &hub, &["download", SHORT]);
    hub.behave(|request| {
        if request.is_for(WEIGHTS) {
            Manner::Throttle(200_000)
        } else {
            Manner::Honest
        }
    });
    for bytes in [70_001, 33_333, 101_010, 51_234] {
        let mut child = download().spawn().unwrap();
        let enough = hub.sent(WEIGHTS) + bytes;
        while hub.sent(WEIGHTS) < enough {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it has ended by itself"
            );
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!snapshot(home.path()).join(WEIGHTS).exists());
    }
    hub.behave(|_| Manner::Honest);
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
        "each goes on where one stopped: {starts:?}"
    );
    let configs = requests
        .iter()
        .filter(|request| request.is_for("config.json"))
        .count();
    assert_eq!(configs, 1, "what is whole is not fetched again");
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

/// A library to preload, made of `tests/fixtures/shims`.
#[cfg(target_os = "linux")]
fn shim(name: &str, folder: &Path) -> PathBuf {
    let source = support::fixtures()
        .join("shims")
        .join(name)
        .with_extension("c");
    let library = folder.join(name).with_extension("so");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(made.unwrap().success());
    library
}

#[cfg(target_os = "linux")]
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
            "each file is fetched by one of the two"
        );
        assert_eq!(
            fs::read(snapshot(home.path()).join(WEIGHTS)).unwrap(),
            hub.file(WEIGHTS)
        );
        let locks = home
            .path()
            .join("cache/huggingface/hub/.locks/models--fnlp--moss-moon-003-sft-int4");
        let left: Vec<_> = fs::read_dir(locks)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.is_empty(),
            "a file that is left there locks the Python tools out: {left:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_flock_the_lock_of_a_killed_process_is_taken_over_at_once() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let library = shim("flock", home.path());
    let without_flock = || {
        let mut command = asking(home.path(), &hub, &["download", SHORT]);
        command.env("LD_PRELOAD", &library);
        command
    };
    hub.behave(|request| {
        if request.is_for(WEIGHTS) {
            Manner::Stall(100)
        } else {
            Manner::Honest
        }
    });
    let mut child = without_flock().spawn().unwrap();
    while hub.sent(WEIGHTS) == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    hub.behave(|_| Manner::Honest);
    let began = std::time::Instant::now();
    let out = run(without_flock(), "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "the heartbeat of a dead process is not waited for"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn conversions_work_on_a_file_system_without_flock() {
    let home = tempfile::tempdir().unwrap();
    let library = shim("flock", home.path());
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    )
    .to_owned();
    let mut convert = command(
        home.path(),
        &["convert", &demo, "new", "--to", "safetensors"],
    );
    convert.env("LD_PRELOAD", &library);
    let out = run(convert, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let mut names: Vec<_> = fs::read_dir(home.path().join("new"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("unfinished"))
        .collect();
    names.sort();
    assert!(
        names.is_empty() && !home.path().join("new.unfinished").exists(),
        "{names:?}"
    );
}

#[cfg(target_os = "linux")]
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
    hub.behave(move |_| Manner::ListedBytes(free / 5 * 3)); // once fits, twice does not
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
    // With room for both, the snapshot holds copies.
    hub.behave(|_| Manner::Honest);
    let mut without_links = asking(home.path(), &hub, &["download", SHORT]);
    without_links.env("LD_PRELOAD", home.path().join("links.so"));
    let out = run(without_links, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let weights = snapshot(home.path()).join(WEIGHTS);
    assert!(fs::symlink_metadata(&weights).unwrap().is_file());
    assert_eq!(fs::read(weights).unwrap(), hub.file(WEIGHTS));
}

/// As huggingface_hub leaves it when it was interrupted, or was asked for the weights alone.
#[cfg(unix)]
fn partial_snapshot(home: &Path, hub: &StandIn, files: &[&str]) {
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
        let mut child = asking(home.path(), &hub, &args).spawn().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        let mut said = String::new();
        let is_ready = lines.map_while(Result::ok).any(|line| {
            said += &format!("{line}\n");
            line.contains("ready: ")
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_ready, "{files:?}: {said}");
        assert_eq!(
            fs::read(snapshot(home.path()).join("merges.txt")).unwrap(),
            hub.file("merges.txt")
        );
    }
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
            let began = std::time::Instant::now();
            let out = run(asking(home.path(), &hub, &args), "hello\n");
            let notes = text(&out.stderr);
            assert!(began.elapsed() < Duration::from_secs(10), "{notes}");
            assert_eq!(out.status.code(), Some(1));
            assert!(words.iter().all(|word| notes.contains(word)), "{notes}");
        }
    }
}

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
        for part in [&format!("\n  {WEIGHTS}: "), "blobs", "--verify --yes"] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        assert!(!notes.contains("config.json"), "{notes}");
        // The list, and the cause of a listing that does not come, are lines of their own.
        assert!(!notes.contains("\\n"), "{notes}");
        if more.contains(&"--endpoint") {
            assert!(notes.contains("records\n  cannot fetch"), "{notes}");
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
    assert_eq!(
        hub.take_requests()[0].token.as_deref(),
        Some("Bearer hf_variable")
    );
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
    around
        .env("http_proxy", &proxy.address)
        .env("NO_PROXY", "localhost, 127.0.0.1");
    assert!(run(around, "").status.success());
    assert!(proxy.take_requests().is_empty());
}

#[test]
fn failures_name_address_status_file_and_what_to_do() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave(|request| {
        if request.is_for(WEIGHTS) {
            Manner::Status(403, None)
        } else {
            Manner::Honest
        }
    });
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

#[cfg(unix)]
#[test]
fn at_a_terminal_it_asks_and_takes_no_for_an_answer() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    hub.behave(|request| {
        if request.is_for(WEIGHTS) {
            Manner::Throttle(200_000)
        } else {
            Manner::Honest
        }
    });
    let session = |language: &str| {
        let piped = asking(home.path(), &hub, &["--model", SHORT, "--lang", language]);
        let mut command = Command::new(piped.get_program()); // without its pipes
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
        rexpect::session::spawn_command(command, Some(60_000)).unwrap()
    };
    let mut english = session("en");
    english.exp_string("AGPL-3.0").unwrap();
    english.exp_string("Download it? [y/N] ").unwrap();
    english.send_line("n").unwrap();
    english.exp_string("was not downloaded").unwrap();
    english.exp_eof().unwrap();
    assert_eq!(hub.sent(WEIGHTS), 0);
    // the session reads bytes
    let bytes = |text: &str| text.bytes().map(char::from).collect::<String>();
    let mut chinese = session("zh");
    chinese.exp_string(&bytes("现在下载吗？")).unwrap();
    chinese.send_line("y").unwrap();
    chinese.exp_string("MB/s").unwrap(); // the bar
    hub.behave(|_| Manner::Honest);
    chinese.exp_string("<|Human|>: ").unwrap();
}
