//! Flags, help, and errors about them.

use crate::support::{command, moss, ok, run, text};

#[test]
fn a_missing_model_is_an_error_that_lists_the_places_searched() {
    let folder = tempfile::tempdir().unwrap();
    let out = moss(folder.path(), &[], b"");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in [
        "fnlp/moss-moon-003-sft-int4",
        "models--fnlp--moss-moon-003-sft-int4",
        "searched:\n  ./fnlp/",
        "hint:",
        "--demo",
        "no terminal on which to ask",
        "--yes",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn a_gpu_that_cannot_be_used_is_refused_with_what_is_missing() {
    let out = run(&["--demo", "--gpu", "0,1"], "");
    let notes = text(&out.stderr);
    let expected: &[&str] = match moss::model::has_gpu() {
        Ok(false) if moss::model::CUDA => &["no NVIDIA driver found", "omit `--gpu`"],
        Ok(false) => &["--gpu 0,1", "--features cuda"],
        _ => &[], // what happens depends on the GPUs
    };
    for part in expected {
        assert!(notes.contains(part) && !out.status.success(), "{notes}");
    }
    assert!(run(&["--demo", "--gpu", "cpu"], "").status.success());
}

#[test]
fn plugins_need_a_plugin_model() {
    let out = run(&["--demo", "--plugins", "calculator"], "");
    assert!(text(&out.stderr).contains("was not trained with plugins"));
}

#[test]
fn a_server_answers_at_most_256_requests_at_the_same_time() {
    for (value, is_valid) in [("0", false), ("1", true), ("256", true), ("257", false)] {
        // A port that is in use comes after the flags.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let out = run(
            &["serve", "--demo", "--port", &port, "--parallel", value],
            "",
        );
        let notes = text(&out.stderr);
        let names_range = notes.contains("1 to 256") && out.status.code() == Some(2);
        assert_eq!(names_range, !is_valid, "{value}: {notes}");
    }
}

#[test]
fn completions_manual_and_help_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&["completions", shell], "").contains("moss-cli"));
    }
    assert!(ok(&["man"], "").contains(".TH"));
    let help = ok(&["--help"], "");
    for flag in [
        "--model",
        "--demo",
        "--threads",
        "--dtype",
        "--activations",
        "--kv-cache",
        "--seed",
        "--top-k",
        "--plugins",
        "--gpu",
        "--lang",
        "moss-moon-003-sft-int4",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(ok(&["--model_name", "x", "--help"], "").contains("Usage"));
    assert_eq!(run(&["--nonsense"], "").status.code(), Some(2));
}

#[test]
fn every_subcommand_has_help_and_a_manual_page() {
    for name in [
        "chat",
        "generate",
        "inspect",
        "bench",
        "doctor",
        "plan",
        "tokenize",
        "logits",
        "verify",
        "completions",
        "man",
    ] {
        assert!(
            ok(&[name, "--help"], "").contains(&format!("Usage: moss-cli {name}")),
            "{name}"
        );
        assert!(
            ok(&["man", name], "").contains(&format!(".TH moss-cli-{name} 1")),
            "{name}"
        );
    }
    let out = run(&["man", "nothing"], "");
    assert!(
        text(&out.stderr).contains("unknown subcommand `nothing`")
            && text(&out.stderr).contains("hint:")
    );
}

#[test]
fn help_and_completions_survive_a_closed_pipe() {
    for args in [&["completions", "zsh"][..], &["man"], &["--help"]] {
        let mut child = command(&std::env::temp_dir(), args).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(
            out.status.success() && out.stderr.is_empty(),
            "{args:?}: {}",
            text(&out.stderr)
        );
    }
}

#[test]
fn the_welcome_is_shown_at_terminals_only() {
    let out = run(&["--demo"], "");
    assert!(
        out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(),
        "{}",
        text(&out.stderr)
    );
}
