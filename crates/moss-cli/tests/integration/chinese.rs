//! Messages are Chinese at a Chinese locale or with `--lang zh`, and English otherwise.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::{command, fixture, moss, run, text};

/// Returns the status and the stderr of a run.
fn status_and_stderr(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let out = moss(folder, args, b"");
    (out.status.code(), text(&out.stderr))
}

/// Arguments, exit status, and parts of the message in Chinese and in English.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str], &'a [&'a str]);

#[test]
fn errors_are_chinese_with_lang_zh_and_english_without() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [Case<'_>; 5] = [
        (
            &["--model", "./nowhere"],
            1,
            &[
                "错误：找不到模型 `./nowhere`，已查找：\n",
                "nowhere（不存在）",
                "\n建议：请检查路径；",
                "`--demo`",
            ],
            &[
                "error: model `./nowhere` was not found; searched:\n",
                "nowhere (not found)",
                "\nhint: ",
            ],
        ),
        (
            &["--demo", "--gpu", "x"],
            1,
            &[
                "错误：`--gpu x`：应为编号或 `cpu`",
                "\n建议：`--gpu 0` 为第一块 GPU",
            ],
            &[
                "error: `--gpu x`: expected GPU numbers or `cpu`",
                "\nhint: `--gpu 0` is the first GPU",
            ],
        ),
        (
            &["--temprature", "1"],
            2,
            &[
                "错误：未知参数 `--temprature`\n建议：是否想输入 `--temperature`？\n用法：moss-cli ",
                "\n详见 `--help`\n",
            ],
            &[
                "error: unexpected argument '--temprature' found",
                "tip: a similar argument exists: '--temperature'",
                "\nUsage: ",
            ],
        ),
        (
            &["--threads", "0"],
            2,
            &["错误：`--threads <N>` 的值 `0` 无效：应为 1 至 1024 的整数\n"],
            &[
                "error: invalid value '0' for '--threads <N>': expected a whole number from 1 to 1024",
            ],
        ),
        (
            &["genrate", "hello"],
            2,
            &["错误：未知子命令 `genrate`\n建议：是否想输入 `generate`？\n"],
            &[
                "error: unrecognized subcommand 'genrate'",
                "tip: a similar subcommand exists: 'generate'",
            ],
        ),
    ];
    for (args, status, chinese, english) in cases {
        for (language, parts) in [
            (&["--lang", "zh"][..], chinese),
            (&["--lang", "en"], english),
            (&[], english),
        ] {
            let (code, said) = status_and_stderr(folder.path(), &[args, language].concat());
            assert_eq!(code, Some(status), "{args:?} {language:?}: {said}");
            for part in parts {
                assert!(
                    said.contains(part),
                    "`{part}` of {args:?} {language:?}: {said}"
                );
            }
            for label in ["error:", "hint:", "Usage:", "--help'"] {
                assert!(
                    parts != chinese || !said.contains(label),
                    "{args:?}: {said}"
                );
            }
        }
    }
}

#[test]
fn errors_of_a_chat_are_chinese_and_the_chat_continues() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("talk.json"), "{\"version\": ").unwrap();
    let lines = b"/load talk.json\n/load none.json\n/halp\n/params top_p 9\n/regen\nstop\n";
    let out = moss(folder.path(), &["--demo", "--lang", "zh"], lines);
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    for part in [
        "错误：这不是保存的对话\n  JSON 不完整：",
        "错误：无法读取 `none.json`\n  没有这个文件或文件夹",
        "错误：未知命令 `/halp`\n建议：",
        "错误：`top_p` 为 9，应为 0 至 1\n",
        "错误：没有可以重新生成的回答\n",
    ] {
        assert!(said.contains(part), "`{part}`: {said}");
    }
    assert!(
        !said.contains("error:") && !said.contains("hint:"),
        "{said}"
    );
}

#[test]
fn the_locale_decides_before_anything_is_parsed_and_the_flag_over_it() {
    let folder = std::env::temp_dir();
    let at = |locale: &str, args: &[&str]| {
        let out = command(&folder, args).env("LANG", locale).output().unwrap();
        text(&out.stdout) + &text(&out.stderr)
    };
    assert!(at("zh_CN.UTF-8", &["--bogus"]).starts_with("错误：未知参数 `--bogus`"));
    assert!(
        at("zh_CN.UTF-8", &["--bogus", "--lang", "en"]).starts_with("error: unexpected argument")
    );
    assert!(at("C.UTF-8", &["--bogus"]).starts_with("error: unexpected argument"));
    // An unknown language is an error in the language of the locale.
    assert!(
        at("zh_CN.UTF-8", &["--lang", "fr"])
            .contains("`--lang <LANG>` 的值 `fr` 无效，可选值为 `en`、`zh`")
    );
    assert!(at("zh_CN.UTF-8", &["--help"]).contains("用法：moss-cli [选项] [命令]"));
    assert!(at("zh_CN.UTF-8", &["help", "serve"]).contains("用法：moss-cli serve [选项]"));
    assert!(at("C.UTF-8", &["--help"]).contains("Usage: moss-cli [OPTIONS] [COMMAND]"));
}

#[test]
fn json_stays_english() {
    let out = run(
        &["inspect", &fixture("tiny-int4"), "--json", "--lang", "zh"],
        "",
    );
    assert!(text(&out.stdout).is_ascii(), "{}", text(&out.stdout));
    let out = run(&["tokenize", "--demo", "--lang", "zh"], "{\"texts\": 1}\n");
    assert!(
        text(&out.stdout).starts_with("{\"error\":\"expected {"),
        "{}",
        text(&out.stdout)
    );
    let report = text(&run(&["inspect", &fixture("tiny-int4"), "--lang", "zh"], "").stdout);
    assert!(report.contains("  权重    "), "{report}");
}

/// At a terminal of 80 columns, and without a terminal.
#[test]
fn chinese_help_fits_its_width_and_says_what_english_help_says() {
    use unicode_width::UnicodeWidthStr;
    for args in [
        &["-h"][..],
        &["--help"],
        &["quantize", "--help"],
        &["help", "serve"],
    ] {
        let of = |language| text(&run(&[&["--lang", language], args].concat(), "").stdout);
        let (english, chinese) = (of("en"), of("zh"));
        assert!(chinese.lines().all(|line| line.width() <= 100), "{chinese}");
        let flags = |help: &str| {
            let lines = help
                .lines()
                .filter_map(|line| line.trim_start().split(' ').next().map(str::to_owned));
            lines
                .filter(|word| word.starts_with('-'))
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(flags(&english), flags(&chinese), "{args:?}");
    }
}
