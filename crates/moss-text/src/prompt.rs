//! Conversations to token ids, in the format of the published README.
//!
//! ```text
//! {instruction}<|Human|>: {user}<eoh>\n<|MOSS|>:                 first turn
//! {all so far, ending in <eom>}\n<|Human|>: {user}<eoh>\n<|MOSS|>:   next turns
//! ```
//! A plugin model's prompt ends after `<eoh>\n`, because the model continues with its thoughts.
//! Text of the user and of the system prompt never becomes a special token. Generated ids are kept
//! and never converted to text and back.

use crate::{
    PluginSwitches, ReplyText, SegmentKind, TextError, TextMode, Tokenizer,
    segments::results_segment,
};

/// The meta instruction of the published README, with the six plugin switches, all disabled.
const INSTRUCTION: &str = include_str!("meta_instruction.txt");
/// Lines of the switches at its end.
const SWITCH_LINES: usize = 6;

/// The system prompt: the text before the first turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SystemText {
    /// The published meta instruction.
    #[default]
    Published,
    /// Another text, to which a missing line feed at the end is added. Empty for no system prompt.
    Custom(String),
}

/// A turn: the user's message, and the ids of the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The user's message.
    pub user: String,
    /// Everything after the message: generated ids and, for plugin models, the results between
    /// them. Empty for a turn without a reply.
    pub reply: Vec<u32>,
}

/// Builds prompts for one model and one system prompt.
#[derive(Debug, Clone)]
pub struct PromptBuilder {
    tokenizer: Tokenizer,
    system: SystemText,
    plugins: Option<PluginSwitches>,
}

impl PromptBuilder {
    /// Creates a builder. `plugins` is `None` for models that were not trained with plugins.
    ///
    /// # Errors
    /// [`TextError::MissingSpecial`] for a tokenizer without the tokens of a conversation.
    pub fn new(
        tokenizer: Tokenizer,
        system: SystemText,
        plugins: Option<PluginSwitches>,
    ) -> Result<Self, TextError> {
        tokenizer.special()?;
        Ok(Self {
            tokenizer,
            system,
            plugins,
        })
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the system prompt.
    pub fn system(&self) -> &SystemText {
        &self.system
    }

    /// Replaces the system prompt.
    pub fn set_system(&mut self, system: SystemText) {
        self.system = system;
    }

    /// Returns the plugin switches; `None` for models without plugins.
    pub fn plugins(&self) -> Option<&PluginSwitches> {
        self.plugins.as_ref()
    }

    /// Returns the tokens that end a run of a reply: `<eom>`, `<eoc>` after which a plugin model
    /// waits for results, and `eos`, the end-of-text token of the model's configuration.
    pub fn stop_ids(&self, eos: Option<u32>) -> Vec<u32> {
        let special = self.tokenizer.special().ok();
        let eom = special.map(|special| special.eom);
        let eoc = special.and_then(|special| special.eoc);
        let eoc = eoc.filter(|_| self.plugins.is_some());
        eom.into_iter().chain(eoc).chain(eos).collect()
    }

    /// Returns true if a reply with these ids waits for results.
    pub fn ends_in_commands(&self, ids: &[u32]) -> bool {
        let special = self.tokenizer.special().ok();
        let eoc = special.and_then(|special| special.eoc);
        self.plugins.is_some() && eoc.is_some() && ids.last() == eoc.as_ref()
    }

    /// Returns the calls for whose results a reply with these ids waits, as the model wrote them.
    pub fn pending_commands(&self, reply: &[u32]) -> Option<String> {
        if !self.ends_in_commands(reply) {
            return None;
        }
        let mode = TextMode::Plugin {
            first: SegmentKind::Thoughts,
            continues: false,
        };
        let mut text = ReplyText::new(self.tokenizer.clone(), mode, &[], false);
        let (mut commands, mut last) = (String::new(), None);
        for id in reply {
            let (piece, _) = text.push(*id);
            if piece.kind == SegmentKind::Commands && last != Some(piece.kind) {
                commands.clear(); // those of an earlier run have results
            }
            if piece.kind == SegmentKind::Commands {
                commands.push_str(&piece.text);
            }
            last = Some(piece.kind);
        }
        Some(commands.trim().to_owned())
    }

    /// Returns the system prompt as text, with a line feed at the end unless it is empty.
    pub fn instruction(&self) -> String {
        match (&self.system, &self.plugins) {
            (SystemText::Custom(text), _) if text.is_empty() || text.ends_with('\n') => {
                text.clone()
            }
            (SystemText::Custom(text), _) => format!("{text}\n"),
            (SystemText::Published, Some(plugins)) => plugins.apply(INSTRUCTION),
            (SystemText::Published, None) => {
                let lines: Vec<_> = INSTRUCTION.split_inclusive('\n').collect();
                lines[..lines.len().saturating_sub(SWITCH_LINES)].concat()
            }
        }
    }

    /// Returns the ids that the first prompts of all conversations begin with: those of the system
    /// prompt, and of the label after it.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn shared_prefix(&self) -> Result<Vec<u32>, TextError> {
        let mut shared = self.opening(true, "")?;
        // The last token before a message may depend on how the message begins.
        for user in ["a", "1", " ", "\n", "你", "\""] {
            let other = self.opening(true, user)?;
            let pairs = shared.iter().zip(&other);
            shared.truncate(pairs.take_while(|(one, other)| one == other).count());
        }
        Ok(shared)
    }

    /// Returns the ids of a whole prompt: the system prompt, `turns`, and the message `user`. See
    /// [`PromptBuilder::layout`].
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn prompt(&self, turns: &[Turn], user: &str) -> Result<Vec<u32>, TextError> {
        Ok(self.layout(turns, user, &[])?.into_prompt(0)?.ids)
    }

    /// Returns the ids of a plugin's results, which follow the commands.
    ///
    /// # Errors
    /// [`TextError::MissingSpecial`] for a tokenizer without `<eor>`; [`TextError::Encode`].
    pub fn results(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let eor = self.tokenizer.special()?.eor;
        let eor = eor.ok_or_else(|| self.tokenizer.missing_special("<eor>"))?;
        let mut ids = self.tokenizer.encode_untrusted(&results_segment(text))?;
        ids.push(eor);
        ids.extend(self.tokenizer.encode_untrusted("\n<|MOSS|>:")?);
        Ok(ids)
    }

    /// Returns the ids of a message, up to the start of the reply. The first turn is tokenized
    /// together with the system prompt, as upstream tokenizes the whole prompt.
    pub(crate) fn opening(&self, first: bool, user: &str) -> Result<Vec<u32>, TextError> {
        let before = if first {
            self.instruction()
        } else {
            "\n".into()
        };
        let mut ids = self
            .tokenizer
            .encode_untrusted(&format!("{before}<|Human|>: {user}"))?;
        ids.push(self.tokenizer.special()?.eoh);
        let after = if self.plugins.is_some() {
            "\n"
        } else {
            "\n<|MOSS|>:"
        };
        ids.extend(self.tokenizer.encode_untrusted(after)?);
        Ok(ids)
    }
}
