//! Help and manual pages in Chinese: texts of `locales/zh-clap.ftl` replace the doc comments and
//! clap's texts. Shell completions stay English.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdout},
};

use clap::{Arg, Command, builder::PossibleValue};
use moss_messages::{Args, Language, ToArg};

use crate::{
    fold::to_terminal,
    messages::{clap_text as text, clap_text_long, language_of_locale},
    printer::TerminalEnv,
};

/// Maximum line width, as for the English help.
const MAX_WIDTH: usize = 100;

/// Returns the language of `--lang`, before the arguments are parsed. The default is the locale's.
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
        .and_then(Language::from_tag)
        .unwrap_or_else(language_of_locale)
}

/// Returns the command with its help in a language.
pub(crate) fn translated(mut command: Command, language: Language) -> Command {
    match language {
        Language::En => command,
        Language::Zh => {
            // Adds `--help`, `--version`, `help` and global flags.
            command.build();
            chinese(command)
        }
    }
}

/// Renders Chinese help in lines that fit the terminal. `parsed` is the result of parsing the
/// arguments, `command` the translated command.
pub(crate) fn render(parsed: &clap::Error, command: Command, terminal: TerminalEnv) -> String {
    let colors = stdout().is_terminal() && !terminal.no_color && !terminal.dumb;
    let text = match sectioned(command).try_get_matches_from(std::env::args_os()) {
        Err(help) => help.render(),
        Ok(_) => parsed.render(),
    };
    let text = if colors {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    to_terminal(&text, MAX_WIDTH)
}

/// Returns the usage line of a command.
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
    let (about, long_about) = help_of(&[format!("cmd-{name}")]).unwrap_or_default();
    let template = format!(
        "{{about-with-newline}}\n{}\n\n{{all-args}}",
        usage(&command)
    );
    let heading = |name: &str| text(&format!("heading-{name}"), &[]).unwrap_or_default();
    command
        .help_template(template)
        // clap counts characters, but a Chinese one is two columns wide: `render` wraps lines.
        .term_width(0)
        .about(about)
        .long_about(long_about)
        .subcommand_help_heading(heading("Commands"))
        .subcommand_value_name(heading("Commands"))
        .mut_args(|arg| chinese_arg(arg, &name))
        .mut_subcommands(chinese)
}

/// Returns a translated command whose help has full-width colons in the headings of its sections. clap
/// writes ASCII colons, so that each section is rendered alone, without heading.
fn sectioned(command: Command) -> Command {
    let (short, long) = (sections(&command, false), sections(&command, true));
    let template = format!("{{about-with-newline}}\n{}{{after-help}}", usage(&command));
    command
        .help_template(template)
        .after_help(short)
        .after_long_help(long)
        .mut_subcommands(sectioned)
}

/// Returns the sections of `-h` or of `--help`, in clap's order.
fn sections(command: &Command, long: bool) -> String {
    let commands = command.get_subcommands().any(|inner| !inner.is_hide_set());
    let commands = command
        .get_subcommand_help_heading()
        .filter(|_| commands)
        .map(|heading| (heading, alone(command.clone(), "{subcommands}", long)));
    let mut sections: Vec<_> = commands.into_iter().collect();
    for heading in command.get_arguments().filter_map(Arg::get_help_heading) {
        if sections.iter().any(|(other, _)| *other == heading) {
            continue;
        }
        let hide = |arg: Arg| {
            let is_hidden = arg.is_hide_set() || arg.get_help_heading() != Some(heading);
            arg.hide(is_hidden)
        };
        let only = command.clone().mut_args(hide);
        let kinds = ["{positionals}", "{options}"];
        let parts = kinds.map(|template| alone(only.clone(), template, long));
        sections.push((heading, parts.concat()));
    }
    let header = command.get_styles().get_header();
    let section = |(heading, lines): &(&str, String)| {
        let heading = text("help-heading", &[("heading", heading.to_arg())]).unwrap_or_default();
        (!lines.is_empty()).then(|| format!("{header}{heading}{header:#}\n{lines}"))
    };
    let sections: Vec<_> = sections.iter().filter_map(section).collect();
    sections.join("\n")
}

/// Renders one part of a command's help, in lines; empty if there is nothing to show.
fn alone(command: Command, template: &'static str, long: bool) -> String {
    let mut command = command.help_template(template);
    let help = match long {
        true => command.render_long_help(),
        false => command.render_help(),
    };
    let text = help.ansi().to_string();
    if text.trim().is_empty() {
        String::new()
    } else {
        text
    }
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
    let (help, long_help) = help_of(&ids).unwrap_or_default();
    let (labels, long_labels) = labels(&arg, &id);
    arg.help(help + &labels)
        .long_help(long_help + &long_labels)
        .help_heading(heading)
        .hide_default_value(true)
        .hide_env(true)
        .hide_possible_values(true)
}

/// Returns the texts of `-h` and of `--help` for the first id that exists.
fn help_of(ids: &[String]) -> Option<(String, String)> {
    ids.iter().find_map(|id| {
        let first = text(id, &[])?;
        let more = clap_text_long(id);
        let long = more.map_or_else(|| first.clone(), |more| format!("{first}\n\n{more}"));
        Some((first, long))
    })
}

/// Returns what clap adds to the help of an argument, for `-h` and for `--help`: default value,
/// environment variable and possible values.
fn labels(arg: &Arg, id: &str) -> (String, String) {
    let label = |id, args: Args| text(id, &args).unwrap_or_default();
    let mut found = Vec::new();
    if let Some(name) = arg.get_env() {
        let value = std::env::var_os(name).unwrap_or_default();
        let value = value.to_string_lossy();
        let value = (!arg.is_hide_env_values_set()).then_some(value);
        let args = vec![
            ("name", name.to_string_lossy().to_arg()),
            ("value", value.to_arg()),
        ];
        found.push(label("label-env", args));
    }
    let takes_values = arg.get_action().takes_values();
    let defaults = arg.get_default_values();
    if takes_values && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let values: Vec<_> = defaults.iter().map(|text| text.to_string_lossy()).collect();
        let values = values.join(" ").to_arg();
        found.push(label("label-default", vec![("values", values)]));
    }
    let mut long = found.clone();
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if takes_values && !values.is_empty() {
        let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        let names = label("label-values", vec![("values", names.join(", ").to_arg())]);
        let described = |value: &&PossibleValue| {
            let name = value.get_name();
            let help = text(&format!("value-{id}-{name}"), &[])?;
            let args = vec![("name", name.to_arg()), ("help", help.to_arg())];
            Some(label("label-value", args))
        };
        let lines: String = values.iter().filter_map(described).collect();
        long.push(match lines.is_empty() {
            true => names.clone(),
            false => label("label-long-values", vec![("values", lines.to_arg())]),
        });
        found.push(names);
    }
    let short = found.iter().map(|label| format!(" {label}")).collect();
    let long = match long.is_empty() {
        true => String::new(),
        false => format!("\n\n{}", long.join("\n")),
    };
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
    fn every_visible_command_argument_and_value_has_a_text_and_no_text_is_unused() {
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
        let unused: Vec<_> = of_help.filter(|id| !used.contains(*id)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    /// English prose contains these words; names and flags do not.
    #[test]
    fn chinese_help_contains_no_english_prose() {
        let inner = Cli::command();
        let names = inner
            .get_subcommands()
            .map(|inner| inner.get_name().to_owned());
        for name in names.chain(["".into()]) {
            for flag in ["-h", "--help"] {
                let line = format!("moss-cli {name} {flag}").replace("  ", " ");
                let command = translated(Cli::command(), Language::Zh);
                let [plain, shown] = [command.clone(), sectioned(command)].map(|command| {
                    let parsed = command.try_get_matches_from(line.split(' '));
                    parsed.unwrap_err().to_string()
                });
                let wide = plain.replace(":\n", "：\n");
                assert!(plain != wide && shown == wide, "{line}:\n{shown}");
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
    fn the_value_of_a_hidden_variable_is_not_shown() {
        let path = std::env::var("PATH").unwrap();
        let arg = Arg::new("key").env("PATH");
        assert!(labels(&arg, "key").0.contains(&path));
        let (short, long) = labels(&arg.hide_env_values(true), "key");
        assert_eq!(short, " [环境变量：PATH]");
        assert!(!long.contains(&path), "{long}");
    }

    #[test]
    fn lang_sets_the_language_in_both_spellings() {
        let of = |args: &[&str]| language(args.iter().map(OsString::from));
        assert_eq!(of(&["moss-cli", "--lang", "zh", "--help"]), Language::Zh);
        assert_eq!(of(&["moss-cli", "serve", "--lang=en"]), Language::En);
    }
}
