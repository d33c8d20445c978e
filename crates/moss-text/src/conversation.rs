//! Conversations as JSON, to be kept and shared.
//!
//! ```json
//! {"version": 1, "system": null, "turns": [{"user": "你好", "moss": "你好！", "ids": [1, 2, 3]}]}
//! ```
//! `system` is null for the published instruction. `ids` are the reply's own token ids: where they
//! give `moss` again they are used as they are, otherwise (another tokenizer, an edited text)
//! `moss` is tokenised. A question that was never answered has an empty `moss`.

use serde::{Deserialize, Serialize};

use crate::{Specials, SystemText, TextError, Tokenizer, Turn};

const VERSION: u32 = 1;

/// A conversation as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Form of this file.
    pub version: u32,
    /// What stands before the first turn; none for the published instruction.
    #[serde(default)]
    pub system: Option<String>,
    /// Oldest first.
    pub turns: Vec<SavedTurn>,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTurn {
    /// The user's words.
    pub user: String,
    /// The reply as text, without special tokens.
    pub moss: String,
    /// The reply's ids, special tokens included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
}

impl Conversation {
    /// Text and ids of some turns.
    pub fn new(system: &SystemText, turns: &[Turn], tokenizer: &Tokenizer) -> Self {
        let system = match system {
            SystemText::Published => None,
            SystemText::Custom(text) => Some(text.clone()),
        };
        let saved = |turn: &Turn| SavedTurn {
            user: turn.user.clone(),
            moss: tokenizer
                .decode(&turn.reply, Specials::Skip)
                .trim_start()
                .to_owned(),
            ids: turn.reply.clone(),
        };
        Self {
            version: VERSION,
            system,
            turns: turns.iter().map(saved).collect(),
        }
    }

    /// Indented JSON.
    ///
    /// # Errors
    /// [`TextError::Conversation`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, TextError> {
        serde_json::to_string_pretty(self).map_err(|source| TextError::Conversation { source })
    }

    /// # Errors
    /// [`TextError::Conversation`] for anything else than a saved conversation;
    /// [`TextError::ConversationVersion`] for one of a later form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TextError> {
        let found: Self =
            serde_json::from_slice(bytes).map_err(|source| TextError::Conversation { source })?;
        if found.version != VERSION {
            return Err(TextError::ConversationVersion {
                found: found.version,
                expected: VERSION,
            });
        }
        Ok(found)
    }

    /// What stands before the first turn.
    pub fn system(&self) -> SystemText {
        self.system
            .clone()
            .map_or(SystemText::Published, SystemText::Custom)
    }

    /// The turns as ids.
    ///
    /// # Errors
    /// [`TextError::Encode`] when the tokenizers crate fails.
    pub fn turns(&self, tokenizer: &Tokenizer) -> Result<Vec<Turn>, TextError> {
        let turn = |saved: &SavedTurn| {
            let decoded = tokenizer.decode(&saved.ids, Specials::Skip);
            // A question without an answer has neither, and stays one.
            let is_known = tokenizer.check_ids(&saved.ids).is_ok();
            let reply = if is_known && decoded.trim_start() == saved.moss.trim_start() {
                saved.ids.clone()
            } else {
                let mut ids =
                    tokenizer.encode_untrusted(&format!(" {}", saved.moss.trim_start()))?;
                ids.push(tokenizer.special()?.eom);
                ids
            };
            Ok(Turn {
                user: saved.user.clone(),
                reply,
            })
        };
        self.turns.iter().map(turn).collect()
    }
}
