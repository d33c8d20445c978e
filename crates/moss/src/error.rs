//! Errors on the way from a name to a running model.

use std::path::PathBuf;

use moss_checkpoint::CheckpointError;
use moss_engine::EngineError;
use moss_hub::HubError;
use moss_model::ModelError;
#[cfg(feature = "server")]
use moss_server::ServerError;
use moss_text::TextError;

/// An error of [`Builder`](crate::Builder) or [`Found`](crate::Found).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The model was not found or could not be downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The download was declined.
    #[cfg(feature = "hub")]
    #[error("`{name}` is not on this machine, and was not downloaded")]
    Declined {
        /// Name of the model.
        name: String,
    },
    /// The files are not a valid checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model cannot be placed or loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer files cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server did not accept the model.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The folder holds no tokenizer.
    #[error("`{}` holds no tokenizer (vocab.json, merges.txt)", folder.display())]
    NoTokenizer {
        /// The model's folder.
        folder: PathBuf,
    },
    /// Plugins were requested for a model that was not trained with plugins.
    #[error("`{name}` was not trained with plugins")]
    NotAPluginModel {
        /// Name of the model.
        name: String,
    },
    /// The threads of the CPU kernels did not start.
    #[error("cannot start the kernel threads")]
    Threads {
        /// Threads requested; 0 for one per core.
        threads: usize,
        /// Error of the thread pool.
        source: rayon::ThreadPoolBuildError,
    },
}

impl BuildError {
    /// Returns advice for the user, if there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Hub(error) => error.hint(),
            Self::Checkpoint(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Text(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            #[cfg(feature = "server")]
            Self::Server(error) => error.hint(),
            Self::NoTokenizer { .. } => Some("put the published tokenizer files there".into()),
            Self::NotAPluginModel { .. } => {
                Some("use a plugin model, such as `moss-moon-003-sft-plugin-int4`".into())
            }
            #[cfg(feature = "hub")]
            Self::Declined { .. } => None,
            Self::Threads { .. } => None,
        }
    }

    /// Returns the error in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::Hub(error) => error.zh(),
            Self::Checkpoint(error) => error.zh(),
            Self::Model(error) => error.zh(),
            Self::Text(error) => error.zh(),
            Self::Engine(error) => error.zh(),
            #[cfg(feature = "server")]
            Self::Server(error) => error.zh(),
            #[cfg(feature = "hub")]
            Self::Declined { name } => format!("本机没有 `{name}`，且未下载"),
            Self::NoTokenizer { folder } => {
                let folder = folder.display();
                format!("`{folder}` 中没有分词器（vocab.json、merges.txt）")
            }
            Self::NotAPluginModel { name } => format!("`{name}` 未经插件训练"),
            Self::Threads { .. } => "无法启动内核线程".into(),
        }
    }

    /// Returns [`BuildError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::Hub(error) => error.hint_zh(),
            Self::Checkpoint(error) => error.hint_zh(),
            Self::Model(error) => error.hint_zh(),
            Self::Text(error) => error.hint_zh(),
            Self::Engine(error) => error.hint_zh(),
            #[cfg(feature = "server")]
            Self::Server(error) => error.hint_zh(),
            Self::NoTokenizer { .. } => Some("请将发布的分词器文件放入其中".into()),
            Self::NotAPluginModel { .. } => {
                Some("请使用插件模型，例如 `moss-moon-003-sft-plugin-int4`".into())
            }
            #[cfg(feature = "hub")]
            Self::Declined { .. } => None,
            Self::Threads { .. } => None,
        }
    }
}
