//! Tables and manual pages in Chinese: only names, formats and units are in Latin letters.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::support::{command, demo, fixture, moss, ok, text};

/// Names of instruction sets, which depend on the machine.
const ISA: [&str; 6] = ["AVX", "AVX2", "FMA", "F16C", "VNNI", "portable"];

/// Returns stdout and stderr of a run in Chinese.
fn output(folder: &Path, args: &[&str]) -> String {
    let out = moss(folder, &[args, &["--lang", "zh"]].concat(), b"");
    text(&out.stdout) + &text(&out.stderr)
}

/// Returns the words in Latin letters, in lower case.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(str::to_lowercase)
        .collect()
}

/// Checks that a text has Chinese and, in Latin letters, only the allowed words.
fn is_chinese(said: &str, allowed: &[&str]) {
    let allowed = words(&allowed.join(" "));
    let left: Vec<_> = words(said).difference(&allowed).cloned().collect();
    assert!(left.is_empty(), "{left:?} of:\n{said}");
    assert!(said.chars().any(|c| ('一'..='龥').contains(&c)), "{said}");
}

#[test]
fn the_tables_of_bench_are_chinese_but_for_units_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "bench",
        "--demo",
        "--prompt",
        "16",
        "--new",
        "2",
        "--threads",
        "1",
        "--activations",
        "int8",
    ];
    let more = [
        "--clients",
        "1,2",
        "--timeline",
        "--gpu",
        "cpu,cpu",
        "--layers-per-gpu",
        "4,4",
    ];
    let said = output(folder.path(), &[&args[..], &more].concat());
    is_chinese(
        &said,
        &[
            &ISA[..],
            &["moss-demo-int4", "CPU", "kB", "MB", "GB", "s", "ms", "tok"],
        ]
        .concat(),
    );
    for part in [
        "  阶段 1  CPU，第 4 至 7 层，每词元 ",
        "，8 位激活值\n",
        "\n  加载用时 ",
        "\n    输入   预填充 ms ",
        "     2 个并发请求，各 16 个输入词元和 2 个新词元：",
        "\n       每个输出词元的时间 ",
        "\n  16 个词元的输入，",
        "\n  阶段 0 |0",
    ] {
        assert!(said.contains(part), "`{part}`: {said}");
    }
}

#[test]
fn the_table_of_verify_is_chinese_and_in_columns_whether_it_passes_or_fails() {
    use unicode_width::UnicodeWidthStr;
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (fixture("mini-int8"), fixture("mini-int8-act-order"));
    for (verdict, args) in [
        ("PASS", &["verify", &right][..]),
        ("FAIL", &["verify", &right, "--expected", &wrong]),
    ] {
        let said = output(folder.path(), args);
        let names = ["PASS", "FAIL", "logit", "logits", "logsumexp", "inf"];
        let hidden = ["hidden", "embedding", "block", "ln_f"];
        is_chinese(&said, &[&names[..], &hidden].concat());
        assert!(said.contains(&format!("{verdict} 贪心解码 ")), "{said}");
        let values = said
            .lines()
            .filter_map(|line| line.split_once("最大差异").map(|(label, _)| label.width()));
        let columns: BTreeSet<_> = values.collect();
        assert_eq!(columns.len(), 1, "{said}");
    }
}

#[test]
fn the_tables_of_quantize_and_eval_are_chinese_and_convert_says_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("t.jsonl"),
        "{\"turns\": [{\"user\": \"1 + 1 = ?\", \"moss\": \"1 + 1 = 2.\"}]}\n",
    )
    .unwrap();
    let tensors = [
        "transformer",
        "h",
        "attn",
        "mlp",
        "qkv_proj",
        "out_proj",
        "fc_in",
        "fc_out",
    ];
    let rounded = [
        "quantize",
        &demo(),
        "q",
        "--method",
        "rtn",
        "--calibration",
        "t.jsonl",
    ];
    let said = output(folder.path(), &rounded);
    is_chinese(&said, &[&tensors[..], &["q"]].concat());
    assert!(
        said.starts_with("就近舍入，不做校准\n") || said.contains("\n就近舍入，不做校准\n"),
        "{said}"
    );
    assert!(
        said.contains("\n困惑度：量化前 ") && said.ends_with("已写入 `q`\n"),
        "{said}"
    );
    let judged = [
        "eval",
        "--model",
        "./q",
        "--perplexity",
        "t.jsonl",
        "--against",
        &demo(),
    ];
    let said = output(folder.path(), &judged);
    is_chinese(&said, &["KL", "nats"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    let said = output(
        folder.path(),
        &["convert", &demo(), "c", "--to", "safetensors"],
    );
    assert_eq!(said, "已写入 `c`\n");
}

#[test]
fn tables_follow_the_locale_and_json_stays_english() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["verify", &fixture("tiny-int4")];
    let at = |locale: &str| {
        text(
            &command(folder.path(), &args)
                .env("LANG", locale)
                .output()
                .unwrap()
                .stdout,
        )
    };
    assert!(
        at("zh_CN.UTF-8").contains("PASS 概率最高的词元"),
        "{}",
        at("zh_CN.UTF-8")
    );
    assert!(
        at("C.UTF-8").contains("PASS top token                    0 position(s) differ\n"),
        "{}",
        at("C.UTF-8")
    );
    let bench = [
        "bench",
        "--demo",
        "--prompt",
        "8",
        "--new",
        "1",
        "--timeline",
        "--json",
        "--lang",
        "zh",
    ];
    let report: Value = serde_json::from_str(&ok(&bench, "")).unwrap();
    assert_eq!(report["timelines"][0]["what"], "a prompt of 8 tokens");
    assert!(report.to_string().is_ascii(), "{report}");
}

/// Returns the text of a manual page without its markup, and its headings.
fn page(roff: &str) -> (String, Vec<&str>) {
    let headings = roff
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .collect();
    let text: Vec<_> = roff.lines().filter(|line| !line.starts_with('.')).collect();
    let notation = [
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\-", "-"),
        ("\\*(Aq", "'"),
    ];
    (
        notation
            .iter()
            .fold(text.join("\n"), |text, (code, shown)| {
                text.replace(code, shown)
            }),
        headings,
    )
}

#[test]
fn manual_pages_have_no_english_but_what_chinese_help_has_and_their_writers_own_headings() {
    let writers = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "SUBCOMMANDS",
        "VERSION",
    ];
    let names = [
        "chat",
        "generate",
        "download",
        "inspect",
        "serve",
        "bench",
        "doctor",
        "plan",
        "plugins",
        "tokenize",
        "logits",
        "verify",
        "convert",
        "quantize",
        "eval",
        "completions",
        "man",
    ];
    let pages = names.iter().map(|name| vec![*name]).chain([vec![]]);
    for name in pages {
        let help = ok(&[&name[..], &["--help", "--lang", "zh"]].concat(), "");
        let roff = ok(&[&["man"], &name[..], &["--lang", "zh"]].concat(), "");
        let (shown, headings) = page(&roff);
        let version = format!("v{}", env!("CARGO_PKG_VERSION"));
        is_chinese(&shown, &[&help, version.as_str(), "moss-cli-help"]);
        for heading in headings {
            let is_ours =
                ["模型", "回答", "插件", "输出", "参数", "选项", "命令"].contains(&heading);
            assert!(
                is_ours || writers.contains(&heading),
                "{heading} of {name:?}"
            );
        }
    }
}
