//! A served model: an engine, and the builder of its prompts.

use std::sync::Arc;

use moss_engine::Engine;
use moss_text::{Plugin, PluginSwitches, PromptBuilder, SystemText, TextError, Tokenizer};

use crate::{ServerError, calls::Calls, error::ApiError};

/// An engine with a tokenizer, for a model with or without plugins.
#[derive(Debug, Clone)]
pub struct ServedModel {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) has_plugins: bool,
    pub(crate) device_code: Vec<String>,
    /// Runs plugin calls, if the server does so.
    pub(crate) calls: Option<Calls>,
    system: SystemText,
}

impl ServedModel {
    /// Creates a served model.
    ///
    /// # Errors
    /// [`ServerError::NoTokenizer`] for an engine without a tokenizer, [`ServerError::Tokenizer`]
    /// for a tokenizer without the special tokens of a conversation.
    pub fn new(
        engine: Arc<Engine>,
        system: SystemText,
        has_plugins: bool,
    ) -> Result<Self, ServerError> {
        let tokenizer = engine
            .tokenizer()
            .cloned()
            .ok_or(ServerError::NoTokenizer)?;
        tokenizer.special().map_err(ServerError::Tokenizer)?;
        let model = Self {
            engine,
            tokenizer,
            has_plugins,
            device_code: Vec::new(),
            calls: None,
            system,
        };
        model.pin_instruction().map_err(ServerError::Tokenizer)?;
        Ok(model)
    }

    /// Shares the cached instruction between all clients.
    fn pin_instruction(&self) -> Result<(), TextError> {
        let plugins = self.has_plugins.then(PluginSwitches::default);
        let builder = PromptBuilder::new(self.tokenizer.clone(), self.system.clone(), plugins)?;
        let layout = builder.layout(&[], "", &[])?;
        self.engine.pin_prefix(layout.instruction());
        Ok(())
    }

    /// Sets the names of the code that computes the model, such as `sm_90`, for `/metrics` and
    /// `/stats`.
    pub fn with_device_code(mut self, code: Vec<String>) -> Self {
        self.device_code = code;
        self
    }

    /// Runs the plugin calls of requests with `moss.run_plugins`. Without plugins, clients supply
    /// all results.
    pub fn with_plugins(mut self, plugins: Option<moss_plugins::Plugins>) -> Self {
        self.calls = plugins.map(Calls::new);
        self
    }

    /// Returns the builder of prompts with this system prompt, or with the default one.
    pub(crate) fn prompts(
        &self,
        system: Option<SystemText>,
        on: &[Plugin],
    ) -> Result<PromptBuilder, ApiError> {
        let plugins = match self.has_plugins {
            true => Some(PluginSwitches::new(on.iter().copied())?),
            false => None,
        };
        let system = system.unwrap_or_else(|| self.system.clone());
        Ok(PromptBuilder::new(self.tokenizer.clone(), system, plugins)?)
    }

    /// Returns the end token of the model's config.
    pub(crate) fn eos(&self) -> Option<u32> {
        self.engine.model_config().eos_token_id
    }
}
