//! Wrong usage in Chinese: what was typed, and what would do. The parser's rarer errors stay
//! English.

use std::{
    borrow::Cow,
    error::Error,
    net::AddrParseError,
    num::{IntErrorKind, ParseFloatError, ParseIntError},
    process::ExitCode,
};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use moss::unicode::{Context, escape};

use crate::{
    args::OutputArgs,
    errors, help,
    messages::Language,
    printer::{Printer, Surroundings},
};

/// Shows what the parser ended with: help, the version, or an error.
pub(crate) fn show(told: &clap::Error, language: Language, surroundings: Surroundings) -> ExitCode {
    let printer = Printer::new(
        &OutputArgs {
            quiet: false,
            verbose: 0,
            lang: Some(language),
        },
        surroundings,
    );
    match (language, told.use_stderr(), wrong(told)) {
        // as under `head`
        (Language::Zh, false, _) => drop(printer.raw(&help::told(told, surroundings))),
        (Language::Zh, true, Some(what)) => {
            printer.failure(&what, tip(told).as_deref());
            if let Some(ContextValue::StyledStr(usage)) = told.get(ContextKind::Usage) {
                printer.note(&help::localized(&usage.to_string()));
            }
            printer.note("详见 `--help`");
        }
        _ => {
            // What was typed is quoted among the parser's colours; those are given up where it
            // holds anything to escape.
            let text = told.render().to_string();
            match escape(&text, Context::Text) {
                Cow::Borrowed(_) => drop(told.print()),
                Cow::Owned(_) => printer.note(&text),
            }
        }
    }
    ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(u8::MAX))
}

/// What is wrong, where it is something that users meet.
fn wrong(told: &clap::Error) -> Option<String> {
    let named = |kind| match told.get(kind) {
        Some(ContextValue::String(name)) => Some(format!("`{name}`")),
        Some(ContextValue::Strings(names)) => Some(list(names)),
        Some(ContextValue::Number(count)) => Some(count.to_string()),
        _ => None,
    };
    let arg = || named(ContextKind::InvalidArg);
    let value = || named(ContextKind::InvalidValue);
    Some(match told.kind() {
        ErrorKind::UnknownArgument => format!("没有参数 {}", arg()?),
        ErrorKind::InvalidSubcommand => {
            format!("没有子命令 {}", named(ContextKind::InvalidSubcommand)?)
        }
        ErrorKind::InvalidValue => {
            let what = match value()?.as_str() {
                "``" => format!("{} 需要一个值", arg()?),
                value => format!("{} 的值 {value} 无效", arg()?),
            };
            match named(ContextKind::ValidValue).filter(|values| !values.is_empty()) {
                Some(values) => format!("{what}，可选值为 {values}"),
                None => what,
            }
        }
        ErrorKind::ValueValidation => {
            let why = told.source().map(reason);
            format!(
                "{} 的值 {} 无效：{}",
                arg()?,
                value()?,
                why.unwrap_or_default()
            )
        }
        ErrorKind::MissingRequiredArgument => format!("缺少必需的参数：{}", arg()?),
        ErrorKind::ArgumentConflict => match named(ContextKind::PriorArg) {
            Some(prior) if Some(&prior) == arg().as_ref() => format!("{prior} 只能给一次"),
            Some(prior) => format!("{} 不能与 {prior} 同时使用", arg()?),
            None => format!("{} 不能与其他给出的参数同时使用", arg()?),
        },
        ErrorKind::NoEquals => format!("给 {} 赋值时需要等号", arg()?),
        ErrorKind::TooManyValues => format!("{} 不需要更多的值：{}", arg()?, value()?),
        ErrorKind::TooFewValues => {
            let (least, found) = (
                named(ContextKind::MinValues)?,
                named(ContextKind::ActualNumValues)?,
            );
            format!("{} 至少需要 {least} 个值，只给了 {found} 个", arg()?)
        }
        ErrorKind::WrongNumberOfValues => {
            let (expected, found) = (
                named(ContextKind::ExpectedNumValues)?,
                named(ContextKind::ActualNumValues)?,
            );
            format!("{} 需要 {expected} 个值，给了 {found} 个", arg()?)
        }
        ErrorKind::InvalidUtf8 => "命令行参数不是有效的 UTF-8".into(),
        _ => return None,
    })
}

fn list(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join("、")
}

/// Why a value will not do.
fn reason(source: &(dyn Error + 'static)) -> String {
    if let Some(error) = source.downcast_ref::<ParseIntError>() {
        return match error.kind() {
            IntErrorKind::Empty => "应为整数",
            IntErrorKind::PosOverflow => "数字过大",
            IntErrorKind::NegOverflow => "数字过小",
            _ => "应为整数，且不能超出允许的范围",
        }
        .into();
    }
    if source.is::<ParseFloatError>() {
        return "应为数字".into();
    }
    if source.is::<AddrParseError>() {
        return "不是有效的 IP 地址".into();
    }
    let text = errors::text(source, Language::Zh);
    let range = text
        .split_once(" is not in ")
        .and_then(|(_, range)| range.split_once("..="));
    range.map_or(text.clone(), |(least, most)| {
        format!("应为 {least} 至 {most} 的整数")
    })
}

/// What may have been meant.
fn tip(told: &clap::Error) -> Option<String> {
    let similar = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    let meant = similar.into_iter().find_map(|kind| match told.get(kind)? {
        ContextValue::String(name) => Some(format!("`{name}`")),
        ContextValue::Strings(names) if !names.is_empty() => Some(list(names)),
        _ => None,
    });
    let meant = meant.map(|names| format!("是否想输入 {names}？"));
    let others = match told.get(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips
            .iter()
            .map(|tip| in_chinese(&tip.to_string()))
            .collect(),
        _ => vec![],
    };
    let tips: Vec<_> = meant.into_iter().chain(others).collect();
    (!tips.is_empty()).then(|| tips.join("\n"))
}

/// A tip of the parser, which is a sentence and no data.
fn in_chinese(tip: &str) -> String {
    match tip.split('\'').collect::<Vec<_>>()[..] {
        ["to pass ", arg, " as a value, use ", line, ""] => {
            format!("要将 `{arg}` 作为值，请写 `{line}`")
        }
        ["", there, " exists"] => format!("另有 `{there}`"),
        [
            "subcommand ",
            name,
            " exists; to use it, remove the ",
            dashes,
            " before it",
        ] => {
            format!("有子命令 `{name}`：去掉前面的 `{dashes}` 即可")
        }
        _ => tip.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn told(line: &str) -> clap::Error {
        let command = help::translated(Cli::command(), Language::Zh);
        command.try_get_matches_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn wrong_lines_are_told_in_chinese_with_what_was_typed_and_what_would_do() {
        let cases = [
            ("moss-cli --temprature 1", "没有参数 `--temprature`"),
            (
                "moss-cli --dtype",
                "`--dtype <TYPE>` 需要一个值，可选值为 `f32`、`f16`、`bf16`",
            ),
            (
                "moss-cli --dtype f64",
                "`--dtype <TYPE>` 的值 `f64` 无效，可选值为 `f32`、`f16`、`bf16`",
            ),
            ("moss-cli genrate", "没有子命令 `genrate`"),
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
                "`--threads <N>` 的值 `many` 无效：应为整数，且不能超出允许的范围",
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
            let found = wrong(&told(line));
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
            assert_eq!(tip(&told(line)).as_deref(), Some(expected), "{line}");
        }
    }
}
