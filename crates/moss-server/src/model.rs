//! A model as it is served: an engine, and what makes prompts for it.

use std::sync::Arc;

use moss_engine::Engine;
use moss_text::{
    EMPTY_PART, Plugin, PluginSwitches, PromptBuilder, SpecialTokens, SystemText, Tokenizer,
};

use crate::{ServerError, error::ApiError, wire::chat::Beside};

/// An engine with a tokenizer, and whether its model was trained with plugins.
#[derive(Debug, Clone)]
pub struct ServedModel {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) special: SpecialTokens,
    pub(crate) has_plugins: bool,
    system: SystemText,
}

impl ServedModel {
    /// # Errors
    /// [`ServerError::Tokenizer`] for an engine without a tokenizer, and for a tokenizer without
    /// the tokens of a conversation.
    pub fn new(
        engine: Arc<Engine>,
        system: SystemText,
        has_plugins: bool,
    ) -> Result<Self, ServerError> {
        let tokenizer = engine
            .tokenizer()
            .cloned()
            .ok_or(ServerError::NoTokenizer)?;
        let special = tokenizer.special().map_err(ServerError::Tokenizer)?;
        Ok(Self {
            engine,
            tokenizer,
            special,
            has_plugins,
            system,
        })
    }

    /// What makes prompts of conversations with that system text, or the server's own.
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

    /// What followed a question, which comes as text, with the ids that the model would have
    /// written and been given:
    ///
    /// ```text
    /// <|Inner Thoughts|>: …<eot>\n<|Commands|>: …<eoc>\n<|Results|>:\n…<eor>\n<|MOSS|>: …<eom>
    /// ```
    /// A part that a plugin model must have written, and that is not known, is [`EMPTY_PART`].
    /// Where it said nothing the reply ends in front of that: after its commands, or at `<|MOSS|>:`
    /// if their results are there. `is_open` leaves the end of what was said open, for the model to
    /// continue it.
    pub(crate) fn reply(
        &self,
        said: &str,
        beside: Option<&Beside>,
        is_open: bool,
    ) -> Result<Vec<u32>, ApiError> {
        let has_answered = beside.is_none() || !said.is_empty();
        let mut ids = Vec::new();
        let special = (self.special.eot, self.special.eoc, self.special.eor);
        if let (true, (Some(eot), Some(eoc), Some(eor))) = (self.has_plugins, special) {
            let none = Beside::default();
            let Beside {
                thoughts,
                commands,
                results,
            } = beside.unwrap_or(&none);
            // The space behind a label belongs to the label.
            let parts = [
                (
                    "<|Inner Thoughts|>: ",
                    thoughts.as_deref().map(str::trim_start),
                    eot,
                ),
                (
                    "\n<|Commands|>: ",
                    commands.as_deref().map(str::trim_start),
                    eoc,
                ),
                ("\n<|Results|>:\n", results.as_deref(), eor),
            ];
            let last = parts.iter().rposition(|(_, text, _)| text.is_some());
            let written = if has_answered {
                parts.len()
            } else {
                last.map_or(0, |last| last + 1)
            };
            for (label, text, end) in &parts[..written] {
                let text = text.unwrap_or(EMPTY_PART);
                ids.extend(self.tokenizer.encode_untrusted(&format!("{label}{text}"))?);
                ids.push(*end);
            }
            if written == parts.len() {
                ids.extend(self.tokenizer.encode_untrusted("\n<|MOSS|>:")?);
            }
        }
        if has_answered {
            ids.extend(
                self.tokenizer
                    .encode_untrusted(&format!(" {}", said.trim_start()))?,
            );
            if !is_open {
                ids.push(self.special.eom);
            }
        }
        Ok(ids)
    }

    /// Tokens that end an answer in a conversation.
    pub(crate) fn stop_ids(&self) -> Vec<u32> {
        let mut ids = vec![self.special.eom];
        ids.extend(self.special.eoc.filter(|_| self.has_plugins));
        ids.extend(self.engine.model_config().eos_token_id);
        ids
    }
}
