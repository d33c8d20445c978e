//! What failed, in either language: errors of the command line itself, of the libraries, and of the
//! system.

use std::{error::Error, io, sync::Arc};

use moss::{
    BuildError,
    checkpoint::{CheckpointError, PickleError},
    engine::EngineError,
    files::FileError,
    hub::{Fault, HubError},
    model::{ModelError, placement::PlacementError},
    quantize::QuantizeError,
    sampling::SamplingError,
    server::ServerError,
    text::TextError,
    unicode::{Context as Place, DecodeError, escape},
    weights::KernelError,
};
use moss_bench::BenchError;
use moss_messages::{Language, Message, Text, ToArg, msg};

use crate::{args::ArgError, help::text as lookup};

/// A failure of the command line itself, with its cause. The message has the advice.
#[derive(Debug, thiserror::Error)]
#[error("{}", moss_messages::english(&**message))]
pub(crate) struct CliError {
    message: Box<dyn Message + Send + Sync>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// `what` has lines of its own, and what it quotes is escaped.
    has_lines: bool,
}

impl CliError {
    pub(crate) fn new(message: impl Message + Send + Sync + 'static) -> Self {
        Self {
            message: Box::new(message),
            source: None,
            has_lines: false,
        }
    }

    /// Shows the lines of `what`, whose quotes the caller has escaped.
    pub(crate) fn with_lines(self) -> Self {
        Self {
            has_lines: true,
            ..self
        }
    }

    pub(crate) fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Context<T> {
    fn context(self, text: Text) -> Result<T, CliError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, text: Text) -> Result<T, CliError> {
        self.map_err(|source| CliError::new(text).because(source))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, text: Text) -> Result<T, CliError> {
        self.ok_or_else(|| CliError::new(text))
    }
}

/// An answer that nobody can have: the one error that a chat does not survive.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub(crate) struct Unwritable {
    #[from]
    source: io::Error,
}

impl Unwritable {
    /// The reader has gone away, as `head` does: no failure of ours.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// An answer that ended before its end. What there is of it is part of the conversation.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub(crate) struct Unanswered {
    #[from]
    source: EngineError,
}

/// Returns an error of the library, with the words and the advice of the command line.
pub(crate) fn build_failed(error: BuildError) -> anyhow::Error {
    let failed = match error {
        BuildError::Hub(error) => return error.into(),
        BuildError::Text(error) => return error.into(),
        BuildError::Engine(error) => return error.into(),
        BuildError::Server(error) => return error.into(),
        // config.json is wrong: nothing has been loaded.
        BuildError::Model(error @ ModelError::Config { .. }) => return error.into(),
        BuildError::Model(error) => CliError::new(msg!("cannot-load-model")).because(error),
        BuildError::Checkpoint(error) => {
            CliError::new(msg!("cannot-open-checkpoint")).because(error)
        }
        BuildError::Threads { source, .. } => {
            CliError::new(msg!("cannot-start-threads")).because(source)
        }
        BuildError::NoTokenizer { folder } => CliError::new(msg!("no-tokenizer", folder)),
        BuildError::NotAPluginModel { name } => CliError::new(msg!("not-a-plugin-model", name)),
        error => return error.into(),
    };
    failed.into()
}

/// Returns one error of a chain, without its causes, in one line. Errors of other crates keep their
/// own words.
pub(crate) fn text(error: &(dyn Error + 'static), language: Language) -> String {
    let text = match (message(error), language) {
        (Some(message), _) => Some(language.text(message)),
        (None, Language::En) => None,
        (None, Language::Zh) => foreign(error),
    };
    let text = text.unwrap_or_else(|| error.to_string());
    // Errors quote what is wrong, which must not look like lines of ours. Some of them are lists.
    let is_list = matches!(error.downcast_ref(), Some(HubError::NotFound { .. }))
        || error
            .downcast_ref()
            .is_some_and(|failed: &CliError| failed.has_lines);
    let place = if is_list { Place::Text } else { Place::Line };
    escape(&text, place).into_owned()
}

/// Returns the first advice along a chain.
pub(crate) fn hint(error: &anyhow::Error, language: Language) -> Option<String> {
    let mut chain = error.chain();
    chain.find_map(|cause| moss_messages::hint(language, message(cause)?))
}

/// Returns the message of an error of this project.
fn message<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Message> {
    macro_rules! first_of {
        ($($kind:ty),* $(,)?) => {
            None$(.or_else(|| {
                error.downcast_ref::<$kind>().map(|error| error as &dyn Message)
            }))*
        };
    }
    let own = || Some(&*error.downcast_ref::<CliError>()?.message as &dyn Message);
    // What checks files wraps its errors as the system's.
    let wrapped = || message(error.downcast_ref::<io::Error>()?.get_ref()?);
    first_of!(
        ArgError,
        BenchError,
        BuildError,
        CheckpointError,
        DecodeError,
        EngineError,
        Fault,
        FileError,
        HubError,
        KernelError,
        ModelError,
        Arc<ModelError>,
        Box<ModelError>,
        PickleError,
        PlacementError,
        QuantizeError,
        SamplingError,
        ServerError,
        TextError,
        Unanswered,
        Unwritable,
    )
    .or_else(own)
    .or_else(wrapped)
}

/// Returns what an error of the system or of a JSON parser says in Chinese, where it is something
/// that users meet.
fn foreign(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let code = error.raw_os_error()?;
        let what = lookup(&format!("io-{:?}", error.kind()), &[])?;
        return lookup(
            "io-error",
            &[("what", what.to_arg()), ("code", code.to_arg())],
        );
    }
    // Where JSON stops making sense; why, in the parser's own words.
    let error: &serde_json::Error = error.downcast_ref()?;
    let what = lookup(&format!("json-{:?}", error.classify()), &[])?;
    let args = [
        ("what", what.to_arg()),
        ("error", error.to_string().to_arg()),
    ];
    lookup("json-error", &args)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_told_in_chinese_to_its_last_link_through_arcs_and_boxes() {
        let kernel = KernelError::NotCompiled { op: "attention" };
        let stage = ModelError::Stage {
            stage: 1,
            device: moss::model::DeviceSpec::Cpu,
            source: Box::new(ModelError::Kernel {
                layer: 3,
                op: "attention",
                source: kernel,
            }),
        };
        let engine = EngineError::Model {
            step: 7,
            source: Arc::new(stage),
        };
        let error = anyhow::Error::from(
            Err::<(), _>(engine)
                .context(msg!("cannot-generate"))
                .unwrap_err(),
        );
        let told: Vec<_> = error
            .chain()
            .map(|cause| text(cause, Language::Zh))
            .collect();
        let expected = [
            "无法生成",
            "第 7 步失败",
            "CPU 上的阶段 1 失败",
            "第 3 层：`attention` 失败",
            "attention：此构建只含 CPU 内核",
        ];
        assert_eq!(told, expected);
        assert!(hint(&error, Language::Zh).is_some_and(|hint| hint.contains("构建")));
        assert!(hint(&error, Language::En).is_some_and(|hint| hint.starts_with("build with")));
    }

    #[test]
    fn what_errors_quote_is_one_line_without_control_characters() {
        let hostile = "x\x1b]0;t\x07\r\nerror: \u{9b}31m\u{202e}\u{7f}";
        let faults: [Box<dyn Error>; 4] = [
            Box::new(CheckpointError::MissingTensor {
                name: hostile.into(),
                folder: hostile.into(),
            }),
            Box::new(Fault::RedirectTo(hostile.into())),
            Box::new(HubError::BadId { id: hostile.into() }),
            Box::new(io::Error::other(hostile)),
        ];
        for fault in &faults {
            for language in [Language::En, Language::Zh] {
                let text = text(fault.as_ref(), language);
                assert!(
                    !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn the_systems_and_the_parsers_words_keep_their_numbers() {
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(
            text(&missing, Language::Zh),
            "没有这个文件或文件夹（系统错误 2）"
        );
        let wrapped = io::Error::other(PickleError::Truncated { at: 9 });
        assert_eq!(
            text(&wrapped, Language::Zh),
            "在第 9 字节处中断，指令不完整"
        );
        let own = io::Error::other("something of its own");
        assert_eq!(text(&own, Language::Zh), "something of its own");
        let json = serde_json::from_str::<Vec<u8>>("[1,").unwrap_err();
        assert_eq!(text(&json, Language::Zh), format!("JSON 不完整：{json}"));
    }
}
