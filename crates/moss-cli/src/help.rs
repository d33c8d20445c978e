//! Help and manual pages in Chinese: texts laid over the English ones of the flags, and the labels
//! that the parser and the page's writer add. Completions stay English.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdout},
};

use clap::{Arg, Command, CommandFactory, ValueEnum};

use crate::{args::Cli, fold::to_terminal, messages::Language, printer::Surroundings};

/// A line each: what is meant (`COMMAND --flag`, `COMMAND PLACE`, `--flag VALUE`, `=` for the
/// program), its text, and more for `--help`.
const CHINESE: &str = include_str!("help_zh.txt");
const TEMPLATE: &str = "{about-with-newline}\nUsage: {usage}\n\n{all-args}";

/// Headings, and what the parser adds by itself.
const LABELS: [(&str, &str); 18] = [
    ("Usage: ", "用法："),
    ("Commands:", "命令："),
    ("Arguments:", "参数："),
    ("Options:", "选项："),
    ("Model:", "模型："),
    ("Answers:", "回答："),
    ("Output:", "输出："),
    ("[OPTIONS]", "[选项]"),
    ("[COMMAND]", "[命令]"),
    ("[default: ", "[默认："),
    ("[env: ", "[环境变量："),
    ("[possible values: ", "[可选值："),
    ("Possible values:", "可选值："),
    (
        "Print help (see more with '--help')",
        "显示帮助（`--help` 更详细）",
    ),
    (
        "Print help (see a summary with '-h')",
        "显示帮助（`-h` 较简短）",
    ),
    ("Print help", "显示帮助"),
    ("Print version", "显示版本"),
    (
        "Print this message or the help of the given subcommand(s)",
        "显示本帮助，或某个子命令的帮助",
    ),
];

/// What the writer of manual pages adds, in its notation. Headings of its own stay English: tools
/// look for them.
const PAGE_LABELS: [(&str, &str); 4] = [
    (".SH MODEL\n", ".SH 模型\n"),
    (".SH ANSWERS\n", ".SH 回答\n"),
    (".SH OUTPUT\n", ".SH 输出\n"),
    ("\\fIsubcommands\\fR", "\\fI子命令\\fR"),
];

/// Longer lines are hard to read; as for the English help.
const MAX_WIDTH: usize = 100;

/// The language that `--lang` asks for, before anything is parsed; the locale's without it.
pub(crate) fn language(args: impl IntoIterator<Item = OsString>) -> Language {
    let args: Vec<_> = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let after = args
        .iter()
        .skip_while(|arg| *arg != "--lang")
        .nth(1)
        .map(String::as_str);
    let asked = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--lang="))
        .or(after);
    asked
        .and_then(|name| Language::from_str(name, false).ok())
        .unwrap_or_else(Language::of_locale)
}

/// The command with its help in a language.
pub(crate) fn translated(command: Command, language: Language) -> Command {
    match language {
        Language::En => command,
        // The parser counts characters, of which Chinese ones are twice as wide: lines are folded
        // in `told`.
        Language::Zh => chinese(command, "").term_width(0),
    }
}

fn chinese(command: Command, path: &str) -> Command {
    let (about, long) = texts(if path.is_empty() { "=" } else { path }).unzip();
    let about = about.unwrap_or_default();
    command
        .help_template(TEMPLATE)
        .about(about)
        .long_about(whole(about, long.unwrap_or_default()))
        .mut_args(|arg| chinese_arg(arg, path))
        .mut_subcommands(|inner| {
            let name = inner.get_name().to_owned();
            chinese(inner, &name)
        })
}

fn chinese_arg(arg: Arg, path: &str) -> Arg {
    let Some((help, more)) = texts(&key(&arg, path)) else {
        return arg;
    };
    arg.help(help).long_help(whole(help, more))
}

/// What `--help` shows, where `-h` shows the first part.
fn whole(first: &str, more: &str) -> String {
    if more.is_empty() {
        first.to_owned()
    } else {
        format!("{first}\n\n{more}")
    }
}

fn key(arg: &Arg, path: &str) -> String {
    let shown = arg.get_value_names().and_then(|names| names.first());
    let place = || shown.map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string);
    let name = arg
        .get_long()
        .map_or_else(place, |long| format!("--{long}"));
    format!("{path} {name}").trim_start().to_owned()
}

fn texts(key: &str) -> Option<(&'static str, &'static str)> {
    let line = CHINESE
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))?;
    Some(line.split_once('\t').unwrap_or((line, "")))
}

/// What the parser made of the Chinese texts, with Chinese labels, in lines that fit the terminal.
pub(crate) fn told(told: &clap::Error, surroundings: Surroundings) -> String {
    let colors = stdout().is_terminal() && !surroundings.no_color && !surroundings.dumb;
    let text = told.render();
    let text = if colors {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    to_terminal(&localized(&text), MAX_WIDTH)
}

/// The parser's own words in Chinese, those of values included.
pub(crate) fn localized(text: &str) -> String {
    replaced(text, str::to_owned)
}

/// A manual page with its writer's words in Chinese.
pub(crate) fn localized_page(page: &str) -> String {
    let page = replaced(page, |text| {
        text.replace('-', "\\-").replace('\'', "\\*(Aq")
    });
    PAGE_LABELS
        .into_iter()
        .fold(page, |page, (en, zh)| page.replace(en, zh))
}

/// Labels and values of `text`, which has them as `notation` gives them.
fn replaced(text: &str, notation: impl Fn(&str) -> String) -> String {
    let values = described_values(&Cli::command(), "");
    let values = values
        .iter()
        .filter_map(|(key, english)| Some((english.as_str(), texts(key)?.0)));
    let words = LABELS.into_iter().chain(values);
    words.fold(text.to_owned(), |text, (en, zh)| {
        text.replace(&notation(en), &notation(zh))
    })
}

/// Keys and English texts of the values that have one.
fn described_values(command: &Command, path: &str) -> Vec<(String, String)> {
    let of_arg = |arg: &Arg| {
        let key = key(arg, path);
        let described = |value: &clap::builder::PossibleValue| {
            Some((
                format!("{key} {}", value.get_name()),
                value.get_help()?.to_string(),
            ))
        };
        arg.get_possible_values()
            .iter()
            .filter_map(described)
            .collect::<Vec<_>>()
    };
    let inner = command
        .get_subcommands()
        .flat_map(|inner| described_values(inner, inner.get_name()));
    command
        .get_arguments()
        .flat_map(of_arg)
        .chain(inner)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The help of a command, as the parser gives it.
    fn help(line: &str) -> clap::Error {
        translated(Cli::command(), Language::Zh)
            .try_get_matches_from(line.split(' '))
            .unwrap_err()
    }

    #[test]
    fn every_visible_command_flag_and_value_has_a_chinese_text_and_no_text_is_left_over() {
        let root = Cli::command();
        let visible = |command: &Command, path: &str| -> Vec<String> {
            command
                .get_arguments()
                .filter(|arg| !arg.is_hide_set())
                .map(|arg| key(arg, path))
                .collect()
        };
        let mut keys = visible(&root, "");
        keys.push("=".to_owned());
        keys.extend(described_values(&root, "").into_iter().map(|(key, _)| key));
        for inner in root.get_subcommands() {
            keys.push(inner.get_name().to_owned());
            keys.extend(visible(inner, inner.get_name()));
        }
        let missing: Vec<_> = keys.iter().filter(|key| texts(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let known = |line: &&str| keys.iter().any(|key| line.split('\t').next() == Some(key));
        let left: Vec<_> = CHINESE.lines().filter(|line| !known(line)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Prose is a small word between two others; names and flags have none.
    #[test]
    fn nothing_of_the_help_is_english_and_every_label_is_met() {
        let inner = Cli::command();
        let names = inner
            .get_subcommands()
            .map(|inner| inner.get_name().to_owned());
        let mut met = [false; LABELS.len()];
        for name in names.chain(["".into(), "help".into()]) {
            for flag in ["-h", "--help"] {
                let line = format!("moss-cli {name} {flag}").replace("  ", " ");
                let raw = help(&line).to_string();
                for (met, (label, _)) in met.iter_mut().zip(LABELS) {
                    *met |= raw.contains(label);
                }
                let shown = localized(&raw);
                for word in [
                    " the ", " of ", " a ", " to ", "Print", "default:", "values:", "Usage",
                    "[OPTIONS",
                ] {
                    assert!(!shown.contains(word), "`{word}` in {line}:\n{shown}");
                }
            }
        }
        let unmet: Vec<_> = LABELS.iter().zip(met).filter(|(_, met)| !met).collect();
        assert!(
            unmet.is_empty(),
            "the parser says something else now: {unmet:?}"
        );
    }

    #[test]
    fn the_flag_decides_the_language_in_both_spellings() {
        let of = |args: &[&str]| language(args.iter().map(OsString::from));
        assert_eq!(of(&["moss-cli", "--lang", "zh", "--help"]), Language::Zh);
        assert_eq!(of(&["moss-cli", "serve", "--lang=en"]), Language::En);
    }
}
