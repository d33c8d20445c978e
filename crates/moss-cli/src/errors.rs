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
    unicode::{Context, DecodeError, escape},
    weights::KernelError,
};
use moss_bench::BenchError;
use serde_json::error::Category;

use crate::{
    args::ArgError,
    messages::{Language, Words},
};

/// A failure of the command line itself; advice and cause go along.
#[derive(Debug, thiserror::Error)]
#[error("{}", what.en)]
pub(crate) struct Failed {
    what: Words,
    hint: Option<Words>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// `what` has lines of its own, and what it quotes is escaped.
    has_lines: bool,
}

impl Failed {
    pub(crate) fn new(what: impl Into<Words>) -> Self {
        Self {
            what: what.into(),
            hint: None,
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

    pub(crate) fn hint(self, hint: impl Into<Words>) -> Self {
        Self {
            hint: Some(hint.into()),
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

/// Says what was being done when something failed, in English and in Chinese.
pub(crate) trait OrFail<T> {
    fn or_fail(self, en: impl Into<String>, zh: impl Into<String>) -> Result<T, Failed>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, en: impl Into<String>, zh: impl Into<String>) -> Result<T, Failed> {
        self.map_err(|source| Failed::new((en, zh)).because(source))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, en: impl Into<String>, zh: impl Into<String>) -> Result<T, Failed> {
        self.ok_or_else(|| Failed::new((en, zh)))
    }
}

/// An answer that nobody can have: the one error that a chat does not survive.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
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
#[derive(Debug, thiserror::Error)]
#[error("cannot answer")]
pub(crate) struct Unanswered {
    #[from]
    source: EngineError,
}

/// An error of the library, with the words and the advice of the command line.
pub(crate) fn build_failed(error: BuildError) -> anyhow::Error {
    let failed = match error {
        BuildError::Hub(error) => return error.into(),
        BuildError::Text(error) => return error.into(),
        BuildError::Engine(error) => return error.into(),
        BuildError::Server(error) => return error.into(),
        // config.json is wrong: nothing has been loaded.
        BuildError::Model(error @ ModelError::Config { .. }) => return error.into(),
        BuildError::Model(error) => {
            Failed::new(("cannot load the model", "无法加载模型")).because(error)
        }
        BuildError::Checkpoint(error) => {
            Failed::new(("cannot open the checkpoint", "无法打开检查点")).because(error)
        }
        BuildError::Threads { source, .. } => {
            Failed::new(("cannot start the kernel threads", "无法启动内核线程")).because(source)
        }
        BuildError::NoTokenizer { folder } => {
            let folder = folder.display();
            let what = (
                format!("`{folder}` holds no tokenizer (vocab.json, merges.txt)"),
                format!("`{folder}` 中没有分词器（vocab.json、merges.txt）"),
            );
            let hint = (
                "put the published tokenizer files there, or work with `generate --ids`",
                "请将发布的分词器文件放入其中，或改用 `generate --ids`",
            );
            Failed::new(what).hint(hint)
        }
        BuildError::NotAPluginModel { name } => {
            let what = (
                format!("`--plugins`: `{name}` was not trained with plugins"),
                format!("`--plugins`：`{name}` 未经插件训练"),
            );
            let hint = (
                "use a plugin model, such as `--model moss-moon-003-sft-plugin-int4`",
                "请使用插件模型，例如 `--model moss-moon-003-sft-plugin-int4`",
            );
            Failed::new(what).hint(hint)
        }
        error => return error.into(),
    };
    failed.into()
}

/// One error of a chain, without its causes, in one line. Errors of other crates keep their own
/// words.
pub(crate) fn text(error: &(dyn Error + 'static), language: Language) -> String {
    let text = match language {
        Language::En => error.to_string(),
        Language::Zh => zh(error).unwrap_or_else(|| error.to_string()),
    };
    // Errors quote what is wrong, which must not look like lines of ours. Some of them are lists.
    let is_list = matches!(error.downcast_ref(), Some(HubError::NotFound { .. }))
        || error
            .downcast_ref()
            .is_some_and(|failed: &Failed| failed.has_lines);
    escape(
        &text,
        if is_list {
            Context::Text
        } else {
            Context::Line
        },
    )
    .into_owned()
}

/// The first advice along a chain.
pub(crate) fn hint(error: &anyhow::Error, language: Language) -> Option<String> {
    let hint = error.chain().find_map(|cause| ours(cause)?.hint)?;
    Some(hint.of(language).to_owned())
}

fn zh(error: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| ours(error).map(|ours| ours.zh))
        .or_else(|| error.downcast_ref().map(PickleError::zh))
        .or_else(|| error.downcast_ref().map(Fault::zh))
        .or_else(|| error.downcast_ref().map(ArgError::zh))
        .or_else(|| {
            error
                .downcast_ref()
                .map(|_: &Unwritable| "无法写入标准输出".to_owned())
        })
        .or_else(|| {
            error
                .downcast_ref()
                .map(|_: &Unanswered| "无法回答".to_owned())
        })
        .or_else(|| error.downcast_ref().and_then(system))
        .or_else(|| error.downcast_ref().map(json))
}

/// An error of this project that may have advice.
struct Ours {
    zh: String,
    hint: Option<Words>,
}

fn ours(error: &(dyn Error + 'static)) -> Option<Ours> {
    macro_rules! first_of {
        ($($kind:ty),* $(,)?) => {
            None$(.or_else(|| error.downcast_ref::<$kind>().map(|error| Ours {
                zh: error.zh(),
                hint: error.hint().zip(error.hint_zh()).map(Words::from),
            })))*
        };
    }
    let failed = error.downcast_ref().map(|failed: &Failed| Ours {
        zh: failed.what.zh.clone(),
        hint: failed.hint.clone(),
    });
    // What checks files wraps its errors as the system's.
    let file = error
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref()?.downcast_ref());
    let file = file.map(|file: &FileError| Ours {
        zh: file.zh(),
        hint: file.hint().zip(file.hint_zh()).map(Words::from),
    });
    failed.or(file).or_else(|| {
        first_of!(
            BuildError,
            HubError,
            CheckpointError,
            KernelError,
            ModelError,
            Arc<ModelError>,
            Box<ModelError>,
            PlacementError,
            TextError,
            QuantizeError,
            SamplingError,
            EngineError,
            ServerError,
            DecodeError,
            BenchError,
        )
    })
}

/// What the operating system says, where it is something that users meet.
fn system(error: &io::Error) -> Option<String> {
    let Some(code) = error.raw_os_error() else {
        return error.get_ref().and_then(|inner| zh(inner));
    };
    let what = match error.kind() {
        io::ErrorKind::NotFound => "没有这个文件或文件夹",
        io::ErrorKind::PermissionDenied => "权限不足",
        io::ErrorKind::AlreadyExists => "已存在",
        io::ErrorKind::StorageFull => "磁盘空间不足",
        io::ErrorKind::QuotaExceeded => "超出磁盘配额",
        io::ErrorKind::ReadOnlyFilesystem => "文件系统是只读的",
        io::ErrorKind::IsADirectory => "这是文件夹，不是文件",
        io::ErrorKind::NotADirectory => "这不是文件夹",
        io::ErrorKind::DirectoryNotEmpty => "文件夹不为空",
        io::ErrorKind::InvalidFilename => "文件名无效或过长",
        io::ErrorKind::OutOfMemory => "内存不足",
        io::ErrorKind::AddrInUse => "地址已被占用",
        io::ErrorKind::AddrNotAvailable => "本机没有这个地址",
        io::ErrorKind::ConnectionRefused => "连接被拒绝",
        io::ErrorKind::ConnectionReset => "连接被重置",
        io::ErrorKind::NetworkUnreachable => "网络不可达",
        io::ErrorKind::HostUnreachable => "主机不可达",
        io::ErrorKind::TimedOut => "超时",
        _ => return None,
    };
    Some(format!("{what}（系统错误 {code}）"))
}

/// Where JSON stops making sense; why, in the parser's own words.
fn json(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Io => "无法读取",
        Category::Syntax => "不是有效的 JSON",
        Category::Data => "JSON 内容不符合要求",
        Category::Eof => "JSON 不完整",
    };
    format!("{what}：{error}")
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
                .or_fail("cannot generate", "无法生成")
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
            Box::new(Fault::Redirect(format!("to `{hostile}`"))),
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
            PickleError::Truncated { at: 9 }.zh()
        );
        let own = io::Error::other("something of its own");
        assert_eq!(text(&own, Language::Zh), "something of its own");
        let json = serde_json::from_str::<Vec<u8>>("[1,").unwrap_err();
        assert_eq!(text(&json, Language::Zh), format!("JSON 不完整：{json}"));
    }
}
