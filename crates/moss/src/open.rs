//! The composition root for programs that want a model and no questions.

use std::{path::Path, sync::Arc};

use moss_checkpoint::{Checkpoint, CheckpointError, WeightStorage};
use moss_engine::{Chat, ChatOptions, Engine, EngineError, EngineOptions};
use moss_hub::{HubError, SearchPlaces, resolve};
use moss_messages::Message;
use moss_model::{CacheShape, LoadOptions, ModelError, Moss, MossConfig};
use moss_text::{PluginSwitches, PromptBuilder, SystemText, TextError, Tokenizer};

/// What can go wrong on the way from a name to an engine.
#[derive(Debug, thiserror::Error, Message)]
#[non_exhaustive]
pub enum OpenError {
    /// No such model.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Files that are not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Weights that are no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Files that are no tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How to open a model; the default is one conversation in f32 on the CPU.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Limits of the engine.
    pub engine: EngineOptions,
    /// How the model is placed; `None` for f32 on the CPU with a cache of two windows.
    pub load: Option<LoadOptions>,
    /// Whether weight files are mapped or read into memory.
    pub storage: WeightStorage,
}

/// Opens the checkpoint of a path, a hub id or a short name, and starts an engine on it. A folder
/// without tokenizer files gives an engine without text.
///
/// # Errors
/// An [`OpenError`] of the part that failed.
pub fn open_engine(name: &str, options: OpenOptions) -> Result<Engine, OpenError> {
    let current_dir = std::path::PathBuf::from(".");
    let folder = resolve(
        name,
        &SearchPlaces {
            current_dir,
            hub_cache: None,
        },
    )?
    .folder;
    let checkpoint = Checkpoint::open_with(&folder, options.storage)?;
    let window = MossConfig::try_from(checkpoint.config())?.context_length;
    let load = options.load.unwrap_or_else(|| LoadOptions {
        cache: CacheShape::for_positions(2 * window),
        ..LoadOptions::cpu(window)
    });
    let model = Moss::load(&checkpoint, &load, &mut |_| {})?;
    let tokenizer = tokenizer(&folder)?;
    Ok(Engine::start(Box::new(model), tokenizer, options.engine)?)
}

/// Opens a model and begins a conversation with it, at the published chat settings.
///
/// # Errors
/// An [`OpenError`] of the part that failed; [`TextError::Read`] for a folder without tokenizer
/// files.
pub fn open_chat(name: &str) -> Result<Chat, OpenError> {
    let engine = open_engine(name, OpenOptions::default())?;
    let tokenizer = match engine.tokenizer() {
        Some(tokenizer) => tokenizer.clone(),
        None => Tokenizer::from_folder(name)?, // says which file is missing
    };
    let plugins = name.contains("-plugin").then(PluginSwitches::default);
    let builder = PromptBuilder::new(tokenizer, SystemText::Published, plugins)?;
    Ok(Chat::new(Arc::new(engine), builder, ChatOptions::default()))
}

fn tokenizer(folder: &Path) -> Result<Option<Tokenizer>, TextError> {
    Tokenizer::is_present(folder)
        .then(|| Tokenizer::from_folder(folder))
        .transpose()
}
