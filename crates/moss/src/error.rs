//! Errors on the way from a name to a running model.

use std::path::PathBuf;

use moss_checkpoint::CheckpointError;
use moss_engine::EngineError;
use moss_hub::HubError;
use moss_messages::Message;
use moss_model::ModelError;
#[cfg(feature = "server")]
use moss_server::ServerError;
use moss_text::TextError;

/// An error of [`Builder`](crate::Builder) or [`Found`](crate::Found).
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum BuildError {
    /// The model was not found or could not be downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The download was declined.
    #[cfg(feature = "hub")]
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
    /// [`Builder::model`](crate::Builder::model) with another backend than the native one.
    NotNative,
    /// The folder holds no tokenizer.
    NoTokenizer {
        /// The model's folder.
        folder: PathBuf,
    },
    /// Plugins were requested for a model that was not trained with plugins.
    NotAPluginModel {
        /// Name of the model.
        name: String,
    },
    /// The threads of the CPU kernels did not start.
    Threads {
        /// Threads requested; 0 for one per core.
        threads: usize,
        /// Error of the thread pool.
        source: rayon::ThreadPoolBuildError,
    },
}
