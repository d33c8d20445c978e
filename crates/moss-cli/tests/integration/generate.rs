//! `generate`.

use serde_json::Value;

use crate::support::{fixture, ok, run, text};

#[test]
fn the_same_seed_gives_the_same_text() {
    let ask = || {
        ok(
            &[
                "--demo",
                "--seed",
                "5",
                "--temperature",
                "1.5",
                "generate",
                "讲个笑话",
            ],
            "",
        )
    };
    assert_eq!(ask(), ask());
}

#[test]
fn both_demo_models_recommend_five_films() {
    for demo in ["--demo", "--demo=fp16"] {
        let answer = ok(&[demo, "generate", "推荐五部科幻电影"], "");
        assert_eq!(answer.matches('《').count(), 5, "{answer}");
        let answer = ok(&[demo, "generate"], "Recommend five sci-fi films\n");
        assert!(answer.contains("Blade Runner"), "{answer}");
    }
}

#[test]
fn json_holds_ids_text_stop_usage_and_timings() {
    let out = ok(
        &[
            "--demo",
            "generate",
            "--json",
            "--temperature",
            "0",
            "3 + 4 = ?",
        ],
        "",
    );
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["text"], " 3 + 4 = 7.");
    assert_eq!(answer["stop"], "end_of_turn");
    assert_eq!(
        answer["ids"].as_array().unwrap().len(),
        answer["usage"]["generated_tokens"]
    );
    for key in ["prefill_s", "decode_s", "decode_tokens_per_s"] {
        assert!(answer["timings"][key].as_f64().unwrap() > 0.0, "{key}");
    }
}

#[test]
fn a_stop_string_ends_the_answer_and_is_left_out() {
    let args = [
        "--demo",
        "generate",
        "--temperature",
        "0",
        "--stop",
        "7",
        "3 + 4 = ?",
    ];
    assert_eq!(ok(&args, ""), " 3 + 4 = \n");
    let out = ok(&[&args[..], &["--json"]].concat(), "");
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["stop"]["stop_string"], "7");
}

#[test]
fn raw_text_is_continued_without_a_prompt() {
    let args = [
        "--demo",
        "generate",
        "--raw",
        "--ignore-eos",
        "--max-new-tokens",
        "3",
        "--json",
        "你",
    ];
    let answer: Value = serde_json::from_str(&ok(&args, "")).unwrap();
    assert!(
        answer["usage"]["prompt_tokens"].as_u64().unwrap() < 4,
        "{answer}"
    );
    assert_eq!(answer["usage"]["generated_tokens"], 3);
}

#[test]
fn ids_without_a_token_are_an_error() {
    // The demo models have 2744 tokens and 2752 rows.
    for args in [&["--ids", "2744"][..], &["--raw", "--ids", "5,2745"]] {
        let demo = ["--demo", "generate", "--max-new-tokens", "2"];
        let out = run(&[&demo[..], args].concat(), "");
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        let id = args[args.len() - 1].split(',').next_back().unwrap();
        let stderr = text(&out.stderr);
        assert!(stderr.contains(&format!("token id {id}")), "{stderr}");
        assert!(out.stdout.is_empty());
    }
    ok(
        &[
            "--demo",
            "generate",
            "--ids",
            "2743",
            "--max-new-tokens",
            "2",
        ],
        "",
    );
}

#[test]
fn ids_are_printed_where_there_is_no_text() {
    let args = [
        "generate",
        "--model",
        &fixture("mini-int8"),
        "--ids",
        "5,6",
        "--max-new-tokens",
        "4",
        "--ignore-eos",
    ];
    let ids = ok(&args, "");
    let ids: Vec<u32> = ids
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn an_invalid_message_is_refused_before_the_model_is_loaded() {
    let out = run(&["generate", "--model", "nothing-there"], b"ab\n\xb0\xa1");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("offset 3, in line 2 (byte 0xb0)"),
        "{}",
        text(&out.stderr)
    );
    let out = run(&["generate", "--model", "nothing-there"], "\n");
    assert!(
        text(&out.stderr).contains("no message given"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn settings_out_of_range_name_the_setting_and_the_range() {
    for (flag, value, part) in [
        ("--temperature", "nan", "`temperature` is NaN"),
        ("--top-p", "3", "0 to 1"),
        ("--min-p", "2", "`min_p`"),
    ] {
        let out = run(&["--demo", flag, value, "generate", "hi"], "");
        assert!(
            out.status.code() == Some(1) && text(&out.stderr).contains(part),
            "{}",
            text(&out.stderr)
        );
    }
}

#[test]
#[cfg(debug_assertions)]
fn the_time_limit_of_an_answer_starts_at_its_first_token() {
    // The prompt takes more than a second.
    let args = [
        "generate",
        "--demo",
        "--temperature",
        "0",
        "--max-time",
        "0.2",
        "Who are you?",
    ];
    let mut slow = crate::support::command(&std::env::temp_dir(), &args);
    let out = slow
        .env("MOSS_INJECT_FAULT", "slow:10")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success());
    assert!(!text(&out.stdout).trim().is_empty());
}

#[test]
fn an_answer_without_text_says_why_in_both_languages() {
    let answer = ok(
        &["--demo", "--temperature", "0", "generate", "Who are you?"],
        "",
    );
    let first: String = answer.chars().take(1).collect();
    for (language, why) in [
        ("en", "no answer: the stop text"),
        ("zh", "没有回答：最先出现的是停止文本"),
    ] {
        let args = [
            "--demo",
            "--temperature",
            "0",
            "--lang",
            language,
            "generate",
            "--stop",
            &first,
            "Who are you?",
        ];
        let out = run(&args, "");
        assert!(
            out.status.success() && text(&out.stdout).trim().is_empty(),
            "{out:?}"
        );
        assert!(text(&out.stderr).contains(why), "{}", text(&out.stderr));
    }
}
