//! Usage errors in Chinese, with what was typed and what is possible. Rare errors of clap stay
//! English.

use std::{
    borrow::Cow,
    env,
    error::Error,
    net::AddrParseError,
    num::{IntErrorKind, ParseFloatError, ParseIntError},
    process::ExitCode,
};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use moss::unicode::{Context, escape};
use moss_messages::{Arg, Language, ToArg};

use crate::{
    args::OutputArgs,
    errors, help,
    messages::clap_text as text,
    printer::{Printer, TerminalEnv},
};

/// Shows the result of parsing that is not a command: help, the version, or an error.
pub(crate) fn show(
    error: &clap::Error,
    command: &Command,
    language: Language,
    terminal: TerminalEnv,
) -> ExitCode {
    let printer = Printer::new(
        &OutputArgs {
            quiet: false,
            verbose: 0,
            lang: Some(language),
        },
        terminal,
    );
    let words: Vec<_> = env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match (language, error.use_stderr(), usage_error(error)) {
        // A closed pipe is not an error.
        (Language::Zh, false, _) => {
            drop(printer.raw(&help::render(error, command.clone(), terminal)))
        }
        (Language::Zh, true, Some(what)) => {
            printer.failure(&what, tip(error, command, &words).as_deref());
            printer.note(&help::usage(subcommand(command, &words)));
            printer.note(&text("help-see", &[]).unwrap_or_default());
        }
        _ => {
            // If the quoted input needs escaping, clap's colours are omitted.
            let text = error.render().to_string();
            match escape(&text, Context::Text) {
                Cow::Borrowed(_) => drop(error.print()),
                Cow::Owned(_) => printer.note(&text),
            }
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

/// Returns the subcommand that the words name, or the program itself.
fn subcommand<'a>(command: &'a Command, words: &[String]) -> &'a Command {
    let mut names = words.iter();
    names
        .find_map(|word| command.find_subcommand(word))
        .unwrap_or(command)
}

/// Returns the Chinese text of a common error.
fn usage_error(error: &clap::Error) -> Option<String> {
    // A name is a list of one, shown in backquotes.
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) if !name.is_empty() => vec![name.clone()].to_arg(),
        Some(ContextValue::Strings(names)) if !names.is_empty() => names.to_arg(),
        Some(ContextValue::Number(count)) => Arg::Number(*count as f64),
        _ => none(),
    };
    let (kind, prior) = (error.kind(), error.get(ContextKind::PriorArg));
    let is_repeated = kind == ErrorKind::ArgumentConflict
        && prior.is_some()
        && prior == error.get(ContextKind::InvalidArg);
    let id = if is_repeated {
        "clap-given-twice".to_owned()
    } else {
        format!("clap-{kind:?}")
    };
    let reason = error.source().map(reason).unwrap_or_default();
    text(
        &id,
        &[
            ("arg", named(ContextKind::InvalidArg)),
            ("value", named(ContextKind::InvalidValue)),
            ("values", named(ContextKind::ValidValue)),
            ("subcommand", named(ContextKind::InvalidSubcommand)),
            ("prior", named(ContextKind::PriorArg)),
            ("min", named(ContextKind::MinValues)),
            ("expected", named(ContextKind::ExpectedNumValues)),
            ("found", named(ContextKind::ActualNumValues)),
            ("reason", reason.to_arg()),
        ],
    )
}

fn none() -> Arg {
    None::<String>.to_arg()
}

/// Returns why a value is invalid.
fn reason(source: &(dyn Error + 'static)) -> String {
    let id = if let Some(error) = source.downcast_ref::<ParseIntError>() {
        match error.kind() {
            IntErrorKind::Empty => "int-empty",
            IntErrorKind::PosOverflow => "int-too-large",
            IntErrorKind::NegOverflow => "int-too-small",
            _ => "int-invalid",
        }
    } else if source.is::<ParseFloatError>() {
        "float-invalid"
    } else if source.is::<AddrParseError>() {
        "address-invalid"
    } else {
        return errors::text(source, Language::Zh);
    };
    text(id, &[]).unwrap_or_default()
}

/// Returns what the user may have meant.
fn tip(error: &clap::Error, command: &Command, words: &[String]) -> Option<String> {
    let similar = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    let names = similar.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(vec![name.clone()]),
        ContextValue::Strings(names) if !names.is_empty() => Some(names.clone()),
        _ => None,
    });
    let similar = names.and_then(|names| text("tip-similar", &[("similar", names.to_arg())]));
    let other = error
        .get(ContextKind::Suggested)
        .and_then(|_| other_tip(error, command, words));
    let tips: Vec<_> = similar.into_iter().chain(other).collect();
    (!tips.is_empty()).then(|| tips.join("\n"))
}

/// Returns the tip for an argument that is valid elsewhere, which clap gives only as a sentence.
fn other_tip(error: &clap::Error, command: &Command, words: &[String]) -> Option<String> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = arg.trim_start_matches('-');
    if command.find_subcommand(name).is_some() {
        return text("tip-subcommand", &[("name", name.to_arg())]);
    }
    let has_flag = |inner: &&Command| {
        let mut longs = inner.get_arguments().filter_map(clap::Arg::get_long);
        longs.any(|long| long == name)
    };
    let mut named = words
        .iter()
        .filter_map(|word| command.find_subcommand(word));
    if let Some(inner) = named.find(has_flag) {
        let name = format!("{} --{name}", inner.get_name());
        return text("tip-other", &[("name", name.to_arg())]);
    }
    let has_value = subcommand(command, words)
        .get_positionals()
        .next()
        .is_some();
    has_value.then(|| text("tip-value", &[("arg", arg.to_arg())]))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn command() -> Command {
        help::translated(Cli::command(), Language::Zh)
    }

    fn parse(line: &str) -> clap::Error {
        command().try_get_matches_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn usage_errors_are_chinese_with_what_was_typed_and_what_is_possible() {
        let cases = [
            ("moss-cli --temprature 1", "未知参数 `--temprature`"),
            (
                "moss-cli --dtype",
                "`--dtype <TYPE>` 需要一个值，可选值为 `f32`、`f16`、`bf16`",
            ),
            (
                "moss-cli --dtype f64",
                "`--dtype <TYPE>` 的值 `f64` 无效，可选值为 `f32`、`f16`、`bf16`",
            ),
            ("moss-cli genrate", "未知子命令 `genrate`"),
            (
                "moss-cli --threads 0",
                "`--threads <N>` 的值 `0` 无效：应为 1 至 1024 的整数",
            ),
            (
                "moss-cli serve --host here",
                "`--host <ADDRESS>` 的值 `here` 无效：不是有效的 IP 地址",
            ),
            (
                "moss-cli --threads many",
                "`--threads <N>` 的值 `many` 无效：应为 1 至 1024 的整数",
            ),
            (
                "moss-cli --seed many",
                "`--seed <N>` 的值 `many` 无效：应为整数，且不能超出允许的范围",
            ),
            (
                "moss-cli --temperature hot",
                "`--temperature <T>` 的值 `hot` 无效：应为数字",
            ),
            (
                "moss-cli --max-time soon",
                "`--max-time <SECONDS>` 的值 `soon` 无效：应为秒数",
            ),
            (
                "moss-cli bench --layers 0",
                "`--layers <N>` 的值 `0` 无效：应为 1 至 1000 的整数",
            ),
            (
                "moss-cli bench --layers 99999999999",
                "`--layers <N>` 的值 `99999999999` 无效：应为 1 至 1000 的整数",
            ),
            (
                "moss-cli bench --new 0",
                "`--new <N>` 的值 `0` 无效：应为不小于 1 的整数",
            ),
            (
                "moss-cli quantize a b --bits 5",
                "`--bits <4|8>` 的值 `5` 无效：应为 4 或 8",
            ),
            (
                "moss-cli convert a",
                "缺少必需的参数：`--to <CONTAINER>`、`<DST>`",
            ),
            (
                "moss-cli generate hello --ids 1",
                "`[MESSAGE]` 不能与 `--ids <LIST>` 同时使用",
            ),
            ("moss-cli --seed 1 --seed 2", "`--seed <N>` 只能给一次"),
            ("moss-cli --quiet=1", "`--quiet` 不需要更多的值：`1`"),
        ];
        for (line, expected) in cases {
            let found = usage_error(&parse(line));
            assert!(
                found
                    .as_deref()
                    .is_some_and(|found| found.starts_with(expected)),
                "{line}: {found:?}"
            );
        }
    }

    #[test]
    fn tips_are_chinese() {
        let cases = [
            ("moss-cli --temprature 1", "是否想输入 `--temperature`？"),
            ("moss-cli genrate", "是否想输入 `generate`？"),
            ("moss-cli --source modelscop", "是否想输入 `modelscope`？"),
            (
                "moss-cli generate --bogus",
                "要将 `--bogus` 作为值，请写 `-- --bogus`",
            ),
            ("moss-cli --tensors inspect", "另有 `inspect --tensors`"),
        ];
        for (line, expected) in cases {
            let words: Vec<_> = line.split(' ').skip(1).map(str::to_owned).collect();
            let found = tip(&parse(line), &command(), &words);
            assert_eq!(found.as_deref(), Some(expected), "{line}");
        }
    }
}
