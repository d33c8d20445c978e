//! `plugins`, and the plugin calls of a reply. The model generates a given reply.

use std::{path::Path, process::Output};

use moss::Tokenizer;
use moss_testing::{copy_files, demo};

use crate::support::{command, output, run, text};

const MODEL: &str = "moss-demo-plugin";

/// Runs the demo model, under the name of a plugin model, with what it generates first.
fn with_reply(folder: &Path, reply: &str, args: &[&str], input: &str) -> Output {
    let model = folder.join(MODEL);
    if !model.exists() {
        std::fs::create_dir(&model).unwrap();
        copy_files(demo("moss-demo-int4"), &model);
    }
    let ids = Tokenizer::from_folder(&model)
        .unwrap()
        .encode(reply)
        .unwrap();
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let common = ["--model", MODEL, "--speculate", "off", "--lang", "en"];
    let mut command = command(folder, &[&common[..], args].concat());
    command.env("MOSS_INJECT_FAULT", format!("reply:{}", ids.join(",")));
    output(command, input.as_bytes())
}

const SUM: &str = "<|Inner Thoughts|>: add<eot>\n<|Commands|>: Calculate(\"19*21\"), Solve(\"2x=5\")<eoc> It is 399.<eom>";

#[test]
fn a_chat_runs_the_calls_and_shows_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--plugins", "calculator,equation-solver"];
    let out = with_reply(folder.path(), SUM, &args, "What is 19 times 21?\n");
    let notes = text(&out.stderr);
    assert_eq!(text(&out.stdout), "It is 399.\n", "{notes}");
    let results = "[results]\nCalculate(\"19*21\") => '399'\nSolve(\"2x=5\") =>\nx = 5/2\n";
    assert!(notes.contains(results), "{notes}");
}

#[test]
fn generate_runs_the_calls_and_reports_both_runs() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--plugins", "calculator", "generate", "sum"];
    let out = with_reply(folder.path(), SUM, &args, "");
    assert_eq!(text(&out.stdout), "It is 399.\n", "{}", text(&out.stderr));
    let out = with_reply(folder.path(), SUM, &[&args[..], &["--json"]].concat(), "");
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = json["text"].as_str().unwrap();
    assert!(
        all.contains("Calculate(\"19*21\")") && all.ends_with("It is 399."),
        "{all}"
    );
    assert_eq!(json["stop"], "end_of_turn");
}

#[test]
fn results_are_entered_by_hand_if_the_user_prefers_it() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--plugins", "web-search,calculator", "--plugins-by-hand"];
    let input = "What is 19 times 21?\n/results Calculate(\"19*21\") => '399'\n";
    let out = with_reply(folder.path(), SUM, &args, input);
    let notes = text(&out.stderr);
    assert!(
        notes.contains("/results TEXT") && !notes.contains("[results]"),
        "{notes}"
    );
    assert_eq!(text(&out.stdout), "It is 399.\n", "{notes}");
}

#[test]
fn citations_become_numbers_and_a_list_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    let search =
        "printf 'Tea grows here\\thttps://a.example/1\\tTea\\nother\\thttps://a.example/2\\n'";
    let reply = "<|Inner Thoughts|>: look<eot>\n<|Commands|>: Search(\"tea\")<eoc> On hills<sup><|1|></sup>.<eom>";
    let args = ["--plugins", "web-search", "--search-command", search];
    let out = with_reply(folder.path(), reply, &args, "Where does tea grow?\n");
    let notes = text(&out.stderr);
    assert_eq!(text(&out.stdout), "On hills[1].\n", "{notes}");
    assert!(notes.contains("\n[1] Tea https://a.example/1\n"), "{notes}");
    assert!(!notes.contains("[2]"), "{notes}");
}

#[test]
fn a_call_that_fails_is_reported_and_the_answer_follows() {
    let folder = tempfile::tempdir().unwrap();
    let reply = "<|Inner Thoughts|>: look<eot>\n<|Commands|>: Search(\"tea\")<eoc> Sorry.<eom>";
    let args = [
        "--plugins",
        "web-search",
        "--search-command",
        "echo no network >&2; exit 7",
    ];
    let out = with_reply(folder.path(), reply, &args, "Where does tea grow?\n");
    let notes = text(&out.stderr);
    assert!(notes.contains("exit status 7: no network"), "{notes}");
    assert!(
        notes.contains("Search(\"tea\") =>\nNo result.\n"),
        "{notes}"
    );
    assert_eq!(text(&out.stdout), "Sorry.\n");
}

#[test]
fn a_plugin_of_the_user_is_called_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let reply = "<|Inner Thoughts|>: ask<eot>\n<|Commands|>: Count(\"abc\")<eoc> Three.<eom>";
    let out = with_reply(
        folder.path(),
        reply,
        &["--plugin-command", "Count=wc -c"],
        "How many?\n",
    );
    let notes = text(&out.stderr);
    assert!(notes.contains("Count(\"abc\") =>\n4\n"), "{notes}");
}

#[test]
fn a_plugin_that_is_enabled_must_be_configured() {
    for (plugin, flag) in [
        ("web-search", "--search-url"),
        ("text-to-image", "--image-url"),
    ] {
        let out = run(
            &[
                "generate",
                "--demo",
                "--plugins",
                plugin,
                "--lang",
                "en",
                "hi",
            ],
            "",
        );
        let error = text(&out.stderr);
        assert!(!out.status.success() && error.contains(flag), "{error}");
    }
    let wrong = [
        ("--search-url", "localhost:1", "http or https"),
        ("--plugin-command", "a b=c", "NAME=COMMAND"),
    ];
    for (flag, value, expected) in wrong {
        let out = run(
            &[
                "--demo",
                "--plugins",
                "web-search",
                flag,
                value,
                "--lang",
                "en",
            ],
            "",
        );
        let error = text(&out.stderr);
        assert!(!out.status.success() && error.contains(expected), "{error}");
    }
}

#[test]
fn plugins_are_listed_tested_and_explained() {
    let list =
        |args: &[&str]| text(&run(&[&["plugins", "--lang", "en"], args].concat(), "").stdout);
    let shown = list(&[]);
    let line = |name: &str| {
        shown
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("calculator").ends_with(" ready"), "{shown}");
    assert!(line("web-search").contains("--search-url"), "{shown}");
    assert!(
        line("text-to-speech").contains("never published"),
        "{shown}"
    );
    let shown = list(&[
        "list",
        "--search-command",
        "echo a",
        "--plugin-command",
        "Mine=cat",
    ]);
    assert!(
        !shown.contains("--search-url") && shown.contains("Mine(…)"),
        "{shown}"
    );
    assert!(list(&["explain"]).contains("--plugins-by-hand"));

    let out = run(&["plugins", "test"], "");
    assert!(out.status.success());
    let expected = "Calculate(\"(17+4)/2\") => '10.5'\nSolve(\"2x+3=16\") =>\nx = 13/2\n";
    assert_eq!(text(&out.stdout), expected);
    let out = run(
        &["plugins", "test", "Calculate(\"1/0\")", "--lang", "en"],
        "",
    );
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("divides by zero"),
        "{}",
        text(&out.stderr)
    );
}
