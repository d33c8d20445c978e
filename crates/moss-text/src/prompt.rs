//! Conversations to token ids, in the form of the published README.
//!
//! ```text
//! {instruction}<|Human|>: {user}<eoh>\n<|MOSS|>:                 first turn
//! {all so far, ending in <eom>}\n<|Human|>: {user}<eoh>\n<|MOSS|>:   next turns
//! ```
//! A plugin model's prompt ends after `<eoh>\n`: it goes on with its thoughts. What the user and
//! the system text say is spelt out: no text of theirs becomes a special token. Generated ids are
//! taken as they are, never turned into text and back.

use crate::{PluginSwitches, TextError, Tokenizer};

/// The instruction of the published README, with the six plugin switches, all off.
const INSTRUCTION: &str = include_str!("meta_instruction.txt");
/// Lines of switches at its end.
const SWITCH_LINES: usize = 6;

/// What stands before the first turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SystemText {
    /// The published instruction.
    #[default]
    Published,
    /// One's own; it is made to end in a newline. Empty for none.
    Custom(String),
}

/// One exchange: what the user said, and the ids that followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The user's words.
    pub user: String,
    /// Everything after the turn's opening: generated ids, and for plugin models the results put
    /// between them. Empty for a question that was never answered.
    pub reply: Vec<u32>,
}

/// Builds prompts for one model and one instruction.
#[derive(Debug, Clone)]
pub struct PromptBuilder {
    tokenizer: Tokenizer,
    system: SystemText,
    plugins: Option<PluginSwitches>,
}

impl PromptBuilder {
    /// `plugins` is `None` for models that were not trained with plugins.
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

    /// The tokenizer that prompts are built with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What stands before the first turn.
    pub fn system(&self) -> &SystemText {
        &self.system
    }

    /// Replaces what stands before the first turn.
    pub fn set_system(&mut self, system: SystemText) {
        self.system = system;
    }

    /// The plugin switches; `None` for models without plugins.
    pub fn plugins(&self) -> Option<&PluginSwitches> {
        self.plugins.as_ref()
    }

    /// Returns the tokens that end a run of a reply: `<eom>`, `<eoc>` where a plugin model waits
    /// for results, and `eos`, the end token of the model's config.
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

    /// The instruction as text, ending in a newline unless it is empty.
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

    /// Returns the ids of a whole prompt: the instruction, `turns`, and the message `user`. See
    /// [`PromptBuilder::layout`].
    ///
    /// # Errors
    /// [`TextError::Encode`] when the tokenizers crate fails.
    pub fn prompt(&self, turns: &[Turn], user: &str) -> Result<Vec<u32>, TextError> {
        Ok(self.layout(turns, user, &[])?.into_prompt(0)?.ids)
    }

    /// Ids that give a plugin's results to the model, after its commands.
    ///
    /// # Errors
    /// [`TextError::MissingSpecial`] for a tokenizer without `<eor>`; [`TextError::Encode`].
    pub fn results(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let missing = || TextError::MissingSpecial {
            folder: Default::default(),
            name: "<eor>",
        };
        let eor = self.tokenizer.special()?.eor.ok_or_else(missing)?;
        let mut ids = self
            .tokenizer
            .encode_untrusted(&format!("\n<|Results|>:\n{text}"))?;
        ids.push(eor);
        ids.extend(self.tokenizer.encode_untrusted("\n<|MOSS|>:")?);
        Ok(ids)
    }

    /// The words of the user up to where the model goes on. The first turn is tokenised together
    /// with the instruction, as upstream tokenises its one string.
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
