//! A model that has been found, before it is loaded.

use std::{path::Path, sync::Arc};

use moss_checkpoint::{Checkpoint, CheckpointError, RawConfig};
use moss_engine::{Batch, Chat, Engine, EngineOptions};
use moss_hub::ResolvedModel;
#[cfg(feature = "candle")]
use moss_model::Reference;
#[cfg(feature = "server")]
use moss_model::device_code;
use moss_model::{LanguageModel, LoadEvent, LoadOptions, Moss, MossConfig};
use moss_prompt_cache::PromptCache;
#[cfg(feature = "server")]
use moss_server::{ServedModel, Server, ServerOptions};
use moss_text::{PluginSwitches, PromptBuilder, TextError, Tokenizer};

use crate::{Backend, BuildError, StoredPrompt, event::BuildEvent, settings::Settings};

/// A model on this machine, with the settings of its [`Builder`](crate::Builder).
pub struct Found {
    model: ResolvedModel,
    settings: Settings,
}

impl Found {
    pub(crate) fn new(model: ResolvedModel, settings: Settings) -> Self {
        Self { model, settings }
    }

    /// Returns the short name, such as `moss-moon-003-sft-int4`.
    pub fn name(&self) -> &str {
        &self.model.name
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        &self.model.folder
    }

    /// Returns true if the model was trained with plugins, according to its name.
    pub fn has_plugins(&self) -> bool {
        PluginSwitches::for_model(self.name()).is_some()
    }

    /// Reads the network's sizes from `config.json`.
    ///
    /// # Errors
    /// [`BuildError::Checkpoint`], [`BuildError::Model`].
    pub fn config(&self) -> Result<MossConfig, BuildError> {
        Ok(MossConfig::try_from(&RawConfig::read(self.folder())?)?)
    }

    /// Returns the size of the weight files in bytes.
    ///
    /// # Errors
    /// [`CheckpointError`] if there are none.
    pub fn weight_file_bytes(&self) -> Result<u64, CheckpointError> {
        Checkpoint::weight_file_bytes(self.folder())
    }

    /// Opens the checkpoint and reports its warnings. With
    /// [`WeightStorage::Mapped`](moss_checkpoint::WeightStorage) only headers are read.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn checkpoint(&mut self) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::open_with(&self.model.folder, self.settings.storage)?;
        for warning in checkpoint.warnings() {
            self.settings.listener.tell(BuildEvent::Warning(warning));
        }
        Ok(checkpoint)
    }

    /// Returns the placement with a KV cache for `positions` tokens.
    ///
    /// # Errors
    /// [`BuildError::Model`] if the GPU driver does not start.
    pub fn load_options(&self, positions: usize) -> Result<LoadOptions, BuildError> {
        self.settings.own_load_options(positions)
    }

    /// Starts the threads that CPU kernels run on, for programs that run a model without an engine.
    ///
    /// # Errors
    /// [`BuildError::Threads`].
    pub fn pool(&self) -> Result<rayon::ThreadPool, BuildError> {
        self.settings.pool()
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// [`BuildError::NoTokenizer`], [`BuildError::Text`].
    pub fn tokenizer(&self) -> Result<Tokenizer, BuildError> {
        match Tokenizer::from_folder(self.folder()) {
            Ok(tokenizer) => Ok(tokenizer),
            // A tokenizer of another form is reported as such.
            Err(error) if self.has_tokenizer() || is_other_form(&error) => Err(error.into()),
            Err(_) => Err(BuildError::NoTokenizer {
                folder: self.folder().to_owned(),
            }),
        }
    }

    fn has_tokenizer(&self) -> bool {
        Tokenizer::is_present(self.folder())
    }

    /// Reads the tokenizer and returns the builder of prompts.
    ///
    /// # Errors
    /// [`BuildError::NoTokenizer`], [`BuildError::Text`], [`BuildError::NotAPluginModel`].
    pub fn prompts(&self) -> Result<PromptBuilder, BuildError> {
        let plugins = match PluginSwitches::for_model(self.name()) {
            Some(_) => Some(PluginSwitches::new(self.settings.plugins.iter().copied())?),
            None if self.settings.plugins.is_empty() => None,
            None => {
                return Err(BuildError::NotAPluginModel {
                    name: self.name().to_owned(),
                });
            }
        };
        let system = self.settings.system.clone();
        Ok(PromptBuilder::new(self.tokenizer()?, system, plugins)?)
    }

    /// Loads the model with [`Backend::Native`], without an engine.
    ///
    /// # Errors
    /// [`BuildError::NotNative`], [`BuildError::Checkpoint`], [`BuildError::Model`].
    pub fn model(&mut self) -> Result<Moss, BuildError> {
        if self.settings.backend != Backend::Native {
            return Err(BuildError::NotNative);
        }
        let checkpoint = self.checkpoint()?;
        let engine = self.settings.engine_options(EngineOptions::default);
        let positions = positions(&checkpoint, &engine)?;
        let options = self.settings.load_options(positions, &engine)?;
        Ok(Moss::load(&checkpoint, &options, &mut self.progress())?)
    }

    /// Loads the model with a KV cache for `positions` tokens, without an engine.
    ///
    /// # Errors
    /// [`BuildError::Checkpoint`], [`BuildError::Model`].
    pub fn language_model(
        &mut self,
        positions: usize,
    ) -> Result<Box<dyn LanguageModel>, BuildError> {
        let checkpoint = self.checkpoint()?;
        let options = self.load_options(positions)?;
        self.load(&checkpoint, &options)
    }

    /// Loads the model and starts an engine. Without a tokenizer the engine has no text.
    ///
    /// # Errors
    /// [`BuildError::Checkpoint`], [`BuildError::Model`], [`BuildError::Text`],
    /// [`BuildError::Engine`].
    pub fn engine(mut self) -> Result<Engine, BuildError> {
        let checkpoint = self.checkpoint()?;
        let tokenizer = match self.has_tokenizer() {
            true => Some(self.tokenizer()?),
            false => None,
        };
        self.start(&checkpoint, tokenizer, EngineOptions::default)
    }

    /// Loads the model and begins a conversation.
    ///
    /// # Errors
    /// Those of [`Found::prompts`] and [`Found::engine`].
    pub fn chat(mut self) -> Result<Chat, BuildError> {
        let checkpoint = self.checkpoint()?;
        let (prompts, options) = (self.prompts()?, self.settings.chat.clone());
        let tokenizer = Some(prompts.tokenizer().clone());
        let engine = self.start(&checkpoint, tokenizer, EngineOptions::chat)?;
        Ok(Chat::new(Arc::new(engine), prompts, options))
    }

    /// As [`Found::chat`]; the keys and values of the system prompt are read from a file of `cache`.
    /// If there is none, they are written to one when the first reply has computed them.
    ///
    /// # Errors
    /// Those of [`Found::chat`]. Faults of the cache are logged.
    pub fn cached_chat(mut self, cache: &PromptCache) -> Result<(Chat, StoredPrompt), BuildError> {
        let checkpoint = self.checkpoint()?;
        let (prompts, options) = (self.prompts()?, self.settings.chat.clone());
        let (tokenizer, name) = (Some(prompts.tokenizer().clone()), self.name().to_owned());
        let engine = self.start(&checkpoint, tokenizer, EngineOptions::chat)?;
        let ids = prompts.shared_prefix()?;
        let stored = StoredPrompt::begin(cache, &engine, ids, &name, &checkpoint);
        Ok((Chat::new(Arc::new(engine), prompts, options), stored))
    }

    /// Loads the model, to answer many messages at the same time.
    ///
    /// # Errors
    /// Those of [`Found::prompts`] and [`Found::engine`].
    pub fn batch(mut self) -> Result<Batch, BuildError> {
        let checkpoint = self.checkpoint()?;
        let (prompts, options) = (self.prompts()?, self.settings.chat.clone());
        let tokenizer = Some(prompts.tokenizer().clone());
        let engine = self.start(&checkpoint, tokenizer, EngineOptions::default)?;
        Ok(Batch::new(Arc::new(engine), prompts, options))
    }

    /// Loads the model for a server.
    ///
    /// # Errors
    /// Those of [`Found::tokenizer`] and [`Found::engine`]; [`BuildError::Server`].
    #[cfg(feature = "server")]
    pub fn served(mut self) -> Result<ServedModel, BuildError> {
        let checkpoint = self.checkpoint()?;
        let (system, has_plugins) = (self.settings.system.clone(), self.has_plugins());
        let tokenizer = self.tokenizer()?;
        let code = device_code(&self.settings.devices()?);
        let engine = self.start(&checkpoint, Some(tokenizer), EngineOptions::server)?;
        let model = ServedModel::new(Arc::new(engine), system, has_plugins)?;
        Ok(model.with_device_code(code))
    }

    /// Loads the model and creates a server with it.
    ///
    /// # Errors
    /// Those of [`Found::served`].
    #[cfg(feature = "server")]
    pub fn server(self, options: ServerOptions) -> Result<Server, BuildError> {
        let server = Server::new(options);
        server.open(self.served()?)?;
        Ok(server)
    }

    fn start(
        mut self,
        checkpoint: &Checkpoint,
        tokenizer: Option<Tokenizer>,
        default: fn() -> EngineOptions,
    ) -> Result<Engine, BuildError> {
        let options = self.settings.engine_options(default);
        options.check()?;
        let positions = positions(checkpoint, &options)?;
        let load_options = self.settings.load_options(positions, &options)?;
        let mut model = self.load(checkpoint, &load_options)?;
        if let Some(wrap) = self.settings.wrap_model.take() {
            model = wrap(model);
        }
        Ok(Engine::start(model, tokenizer, options)?)
    }

    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<Box<dyn LanguageModel>, BuildError> {
        let backend = self.settings.backend;
        let mut progress = self.progress();
        Ok(match backend {
            Backend::Native => Box::new(Moss::load(checkpoint, options, &mut progress)?),
            #[cfg(feature = "candle")]
            Backend::Candle => Box::new(Reference::load(checkpoint, options, &mut progress)?),
        })
    }

    fn progress(&mut self) -> impl FnMut(LoadEvent) {
        |event| self.settings.listener.tell(BuildEvent::Load(event))
    }
}

/// Returns the positions of the KV cache for an engine.
fn positions(checkpoint: &Checkpoint, options: &EngineOptions) -> Result<usize, BuildError> {
    let config = MossConfig::try_from(checkpoint.config())?;
    Ok(options.cache_tokens(config.context_length))
}

fn is_other_form(error: &TextError) -> bool {
    matches!(error, TextError::TokenizerJson { .. })
}
