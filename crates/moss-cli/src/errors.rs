//! Errors of the command line, of the libraries and of the system, as text in either language.

use std::{error::Error, io, sync::Arc};

use moss::{
    BuildError,
    checkpoint::{CheckpointError, PickleError},
    engine::EngineError,
    files::FileError,
    hub::{Fault, HubError},
    model::{ModelError, placement::PlacementError},
    plugins::PluginError,
    prompt_cache::PromptCacheError,
    quantize::QuantizeError,
    sampling::SamplingError,
    server::{KeyFileError, ServerError},
    text::TextError,
    unicode::{Context as Place, DecodeError, escape},
    weights::KernelError,
};
use moss_bench::BenchError;
use moss_messages::{Language, Message, Text, ToArg, msg};

use crate::{args::ArgError, messages::clap_text as lookup};

/// An error of the command line, with its cause. The hint is part of the message.
#[derive(Debug, thiserror::Error)]
#[error("{}", moss_messages::english(&**message))]
pub(crate) struct CliError {
    message: Box<dyn Message + Send + Sync>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// The message has several lines, and the caller has escaped the values in it.
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

    /// Keeps the line ends of the message. The caller has escaped the values in it.
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

/// Adds what the program was doing to an error.
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

/// Stdout cannot be written. This is the only error that ends a chat.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub(crate) struct Unwritable {
    #[from]
    source: io::Error,
}

impl Unwritable {
    /// Returns true if the reader closed the pipe, as `head` does. That is not an error.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Generation failed. The partial answer is part of the conversation.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub(crate) struct Unanswered {
    #[from]
    source: EngineError,
}

/// Converts an error of the library, with the messages and hints of the command line.
pub(crate) fn build_failed(error: BuildError) -> anyhow::Error {
    let failed = match error {
        BuildError::Hub(error) => return error.into(),
        BuildError::Text(error) => return error.into(),
        BuildError::Engine(error) => return error.into(),
        BuildError::Server(error) => return error.into(),
        // An invalid config.json is found before anything is loaded.
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

/// Returns one error of a chain, without its causes, in one line. Messages of third-party crates
/// are not translated.
pub(crate) fn text(error: &(dyn Error + 'static), language: Language) -> String {
    let text = match (message(error), language) {
        (Some(message), _) => Some(language.text(message)),
        (None, Language::En) => None,
        (None, Language::Zh) => foreign(error),
    };
    let text = text.unwrap_or_else(|| error.to_string());
    // Values in an error must not look like lines of this program. Some errors are lists.
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
        KeyFileError,
        ModelError,
        Arc<ModelError>,
        Box<ModelError>,
        PickleError,
        PlacementError,
        PluginError,
        PromptCacheError,
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

/// Returns the Chinese text of a common error of the system or of the JSON parser.
fn foreign(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let code = error.raw_os_error()?;
        let what = lookup(&format!("io-{:?}", error.kind()), &[])?;
        return lookup(
            "io-error",
            &[("what", what.to_arg()), ("code", code.to_arg())],
        );
    }
    // The parser's message, which has the line and column, is quoted.
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
    fn a_chain_is_translated_completely_through_arcs_and_boxes() {
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
        let texts: Vec<_> = error
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
        assert_eq!(texts, expected);
        assert!(hint(&error, Language::Zh).is_some_and(|hint| hint.contains("构建")));
        assert!(hint(&error, Language::En).is_some_and(|hint| hint.starts_with("build with")));
    }

    #[test]
    fn values_in_errors_are_one_line_without_control_characters() {
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
    fn system_and_parser_errors_keep_their_numbers() {
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
        let other = io::Error::other("another error");
        assert_eq!(text(&other, Language::Zh), "another error");
        let json = serde_json::from_str::<Vec<u8>>("[1,").unwrap_err();
        assert_eq!(text(&json, Language::Zh), format!("JSON 不完整：{json}"));
    }
}
