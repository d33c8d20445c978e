//! Help texts in Chinese, laid over the English ones of the flags. English stay: errors of the parser, what it
//! adds itself (`--help`, `--version`, `help`, defaults, possible values), the manual page and completions.

use std::ffi::OsString;

use clap::{Arg, Command, ValueEnum};

use crate::messages::Language;

/// A line each: what is meant (`COMMAND --flag`, `COMMAND PLACE`, `=` for the program), its text, and more for `--help`.
const CHINESE: &str = include_str!("help_zh.txt");
const TEMPLATE: &str = "{about-with-newline}\n用法：{usage}\n\n{all-args}";

/// The language that `--lang` asks for, before anything is parsed; the locale's without it.
pub(crate) fn language(args: impl IntoIterator<Item = OsString>) -> Language {
    let args: Vec<_> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let after = args.iter().skip_while(|arg| *arg != "--lang").nth(1).map(String::as_str);
    let asked = args.iter().find_map(|arg| arg.strip_prefix("--lang=")).or(after);
    asked.and_then(|name| Language::from_str(name, false).ok()).unwrap_or_else(Language::of_locale)
}

/// The command with its help in a language.
pub(crate) fn translated(command: Command, language: Language) -> Command {
    match language {
        Language::En => command,
        Language::Zh => chinese(command, ""),
    }
}

fn chinese(command: Command, path: &str) -> Command {
    let (about, long) = texts(if path.is_empty() { "=" } else { path }).unzip();
    let about = about.unwrap_or_default();
    command
        .help_template(TEMPLATE)
        .subcommand_help_heading("命令")
        .about(about)
        .long_about(whole(about, long.unwrap_or_default()))
        .mut_args(|arg| chinese_arg(arg, path))
        .mut_subcommands(|inner| {
            let name = inner.get_name().to_owned();
            chinese(inner, &name)
        })
}

fn chinese_arg(arg: Arg, path: &str) -> Arg {
    let heading = match arg.get_help_heading() {
        Some("Model") => "模型",
        Some("Answers") => "回答",
        Some("Output") => "输出",
        _ if arg.is_positional() => "参数",
        _ => "选项",
    };
    let Some((help, more)) = texts(&key(&arg, path)) else { return arg };
    arg.help_heading(heading).help(help).long_help(whole(help, more))
}

/// What `--help` shows, where `-h` shows the first part.
fn whole(first: &str, more: &str) -> String {
    if more.is_empty() { first.to_owned() } else { format!("{first}\n\n{more}") }
}

fn key(arg: &Arg, path: &str) -> String {
    let shown = arg.get_value_names().and_then(|names| names.first());
    let place = || shown.map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string);
    let name = arg.get_long().map_or_else(place, |long| format!("--{long}"));
    format!("{path} {name}").trim_start().to_owned()
}

fn texts(key: &str) -> Option<(&'static str, &'static str)> {
    let line = CHINESE.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))?;
    Some(line.split_once('\t').unwrap_or((line, "")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_visible_command_and_flag_has_a_chinese_text_and_no_text_is_left_over() {
        let root = Cli::command();
        let visible = |command: &Command, path: &str| -> Vec<String> {
            command.get_arguments().filter(|arg| !arg.is_hide_set()).map(|arg| key(arg, path)).collect()
        };
        let mut keys = visible(&root, "");
        keys.push("=".to_owned());
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

    #[test]
    fn the_flag_decides_the_language_in_both_spellings() {
        let of = |args: &[&str]| language(args.iter().map(OsString::from));
        assert_eq!(of(&["moss-cli", "--lang", "zh", "--help"]), Language::Zh);
        assert_eq!(of(&["moss-cli", "serve", "--lang=en"]), Language::En);
    }
}
