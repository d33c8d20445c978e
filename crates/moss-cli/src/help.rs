//! Help and manual pages in Chinese: texts of `locales/zh-clap.ftl` in place of the doc comments
//! and of clap's own words. Completions stay English.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdout},
};

use clap::{Arg, Command, builder::PossibleValue};
use moss_messages::{Args, Language, ToArg};

use crate::{
    fold::to_terminal,
    messages::{CATALOGUE, language_named, language_of_locale},
    printer::Surroundings,
};

/// Longer lines are hard to read; as for the English help.
const MAX_WIDTH: usize = 100;

/// Returns the language that `--lang` asks for, before anything is parsed; the locale's without it.
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
        .and_then(language_named)
        .unwrap_or_else(language_of_locale)
}

/// Returns the command with its help in a language.
pub(crate) fn translated(mut command: Command, language: Language) -> Command {
    match language {
        Language::En => command,
        Language::Zh => {
            // Adds what the parser adds by itself: `--help`, `--version`, `help`, global flags.
            command.build();
            // The parser counts characters, of which Chinese ones are twice as wide: lines are
            // folded in `told`.
            chinese(command).term_width(0)
        }
    }
}

/// Returns what the parser made of the Chinese texts, in lines that fit the terminal.
pub(crate) fn told(told: &clap::Error, surroundings: Surroundings) -> String {
    let colors = stdout().is_terminal() && !surroundings.no_color && !surroundings.dumb;
    let text = told.render();
    let text = if colors {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    to_terminal(&text, MAX_WIDTH)
}

/// Returns a Chinese text of `zh-clap.ftl`, if there is one.
pub(crate) fn text(id: &str, args: &[(&'static str, moss_messages::Arg)]) -> Option<String> {
    CATALOGUE.format(Language::Zh, id, None, args)
}

/// Returns the line that shows how a command is called.
pub(crate) fn usage(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut line = vec![name.to_owned()];
    let visible = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    line.extend(text("help-options", &[]));
    let flags = visible().filter(|arg| !arg.is_positional() && arg.is_required_set());
    line.extend(flags.map(ToString::to_string));
    line.extend(command.get_positionals().map(ToString::to_string));
    if command.has_subcommands() {
        line.extend(text("help-command", &[]));
    }
    let line = line.join(" ");
    text("help-usage", &[("usage", line.to_arg())]).unwrap_or(line)
}

fn chinese(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let (about, whole) = whole(&[format!("cmd-{name}")]).unwrap_or_default();
    let template = format!(
        "{{about-with-newline}}\n{}\n\n{{all-args}}",
        usage(&command)
    );
    let heading = |name: &str| text(&format!("heading-{name}"), &[]).unwrap_or_default();
    command
        .help_template(template)
        .about(about)
        .long_about(whole)
        .subcommand_help_heading(heading("Commands"))
        .subcommand_value_name(heading("Commands"))
        .mut_args(|arg| chinese_arg(arg, &name))
        .mut_subcommands(chinese)
}

fn chinese_arg(arg: Arg, command: &str) -> Arg {
    let id = arg.get_id().as_str().replace('_', "-");
    let heading = match arg.get_help_heading() {
        Some(heading) => heading.to_owned(),
        None if arg.is_positional() => "Arguments".into(),
        None => "Options".into(),
    };
    let heading = text(&format!("heading-{heading}"), &[]).unwrap_or(heading);
    let ids = [format!("arg-{command}-{id}"), format!("arg-{id}")];
    let (help, whole) = whole(&ids).unwrap_or_default();
    let (labels, long_labels) = labels(&arg, &id);
    arg.help(help + &labels)
        .long_help(whole + &long_labels)
        .help_heading(heading)
        .hide_default_value(true)
        .hide_env(true)
        .hide_possible_values(true)
}

/// Returns what `-h` shows, and the whole that `--help` shows, of the first id that exists.
fn whole(ids: &[String]) -> Option<(String, String)> {
    ids.iter().find_map(|id| {
        let first = text(id, &[])?;
        let more = CATALOGUE.format(Language::Zh, id, Some("long"), &[]);
        let whole = more.map_or_else(|| first.clone(), |more| format!("{first}\n\n{more}"));
        Some((first, whole))
    })
}

/// Returns what clap would add to the help of an argument, for `-h` and for `--help`: its default,
/// its environment variable and its values.
fn labels(arg: &Arg, id: &str) -> (String, String) {
    let mut inline = Vec::new();
    if !arg.get_action().takes_values() {
        return Default::default();
    }
    let label = |id, args: Args| text(id, &args).unwrap_or_default();
    if let Some(name) = arg.get_env() {
        let value = std::env::var_os(name).unwrap_or_default();
        let [name, value] = [name, &value].map(|text| text.to_string_lossy().to_arg());
        inline.push(label("label-env", vec![("name", name), ("value", value)]));
    }
    let defaults = arg.get_default_values();
    let defaults: Vec<_> = defaults
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let values = defaults.join(" ").to_arg();
        inline.push(label("label-default", vec![("values", values)]));
    }
    let values: Vec<_> = arg
        .get_possible_values()
        .into_iter()
        .filter(|value| !value.is_hide_set())
        .collect();
    let described = |value: &PossibleValue| {
        let name = value.get_name();
        let help = text(&format!("value-{id}-{name}"), &[])?;
        let args = vec![("name", name.to_arg()), ("help", help.to_arg())];
        Some(label("label-value", args))
    };
    let lines: String = values.iter().filter_map(described).collect();
    let names: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
    let labels =
        |inline: &[String]| -> String { inline.iter().map(|label| format!(" {label}")).collect() };
    let mut long = labels(&inline);
    if !names.is_empty() {
        let names = names.join(", ").to_arg();
        inline.push(label("label-values", vec![("values", names)]));
    }
    let short = labels(&inline);
    if lines.is_empty() {
        return (short.clone(), short);
    }
    long += "\n\n";
    long += &label("label-long-values", vec![("values", lines.to_arg())]);
    (short, long)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    /// The ids of `zh-clap.ftl` that a command uses.
    fn ids(command: &Command) -> BTreeSet<String> {
        let name = command.get_name();
        let mut found = BTreeSet::from([format!("cmd-{name}")]);
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let id = arg.get_id().as_str().replace('_', "-");
            let own = format!("arg-{name}-{id}");
            let has_own = text(&own, &[]).is_some();
            found.insert(if has_own { own } else { format!("arg-{id}") });
            let values = arg.get_possible_values().into_iter();
            let described = values.filter(|value| value.get_help().is_some());
            found.extend(described.map(|value| format!("value-{id}-{}", value.get_name())));
        }
        found.extend(command.get_subcommands().flat_map(ids));
        found
    }

    #[test]
    fn every_visible_command_argument_and_value_has_a_text_and_no_text_is_left_over() {
        let mut command = Cli::command();
        command.build();
        let used = ids(&command);
        let missing: Vec<_> = used.iter().filter(|id| text(id, &[]).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let lines = include_str!("../locales/zh-clap.ftl").lines();
        let ids = lines.filter_map(|line| Some(line.split_once(" = ")?.0));
        let of_help = ids.filter(|id| {
            ["cmd-", "arg-", "value-"]
                .iter()
                .any(|start| id.starts_with(start))
        });
        let left: Vec<_> = of_help.filter(|id| !used.contains(*id)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Prose is a small word between two others; names and flags have none.
    #[test]
    fn nothing_of_the_help_is_english() {
        let inner = Cli::command();
        let names = inner
            .get_subcommands()
            .map(|inner| inner.get_name().to_owned());
        for name in names.chain(["".into()]) {
            for flag in ["-h", "--help"] {
                let line = format!("moss-cli {name} {flag}").replace("  ", " ");
                let shown = translated(Cli::command(), Language::Zh)
                    .try_get_matches_from(line.split(' '))
                    .unwrap_err()
                    .to_string();
                for word in [
                    " the ",
                    " of ",
                    " a ",
                    " to ",
                    "Print",
                    "default:",
                    "values:",
                    "Usage",
                    "Options",
                    "Arguments",
                    "Commands",
                    "[env",
                    "[OPTIONS",
                ] {
                    assert!(!shown.contains(word), "`{word}` in {line}:\n{shown}");
                }
            }
        }
    }

    #[test]
    fn the_flag_decides_the_language_in_both_spellings() {
        let of = |args: &[&str]| language(args.iter().map(OsString::from));
        assert_eq!(of(&["moss-cli", "--lang", "zh", "--help"]), Language::Zh);
        assert_eq!(of(&["moss-cli", "serve", "--lang=en"]), Language::En);
    }
}
