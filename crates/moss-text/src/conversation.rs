//! Saved conversations, as JSON.
//!
//! ```json
//! {"version": 1, "system": null, "turns": [{"user": "你好", "moss": "你好！", "ids": [1, 2, 3]}]}
//! ```
//! `system` is null for the published meta instruction. `ids` are the token ids of the reply. They
//! are used if they decode to `moss`; otherwise (another tokenizer, an edited text), `moss` is
//! tokenized. A turn without a reply has an empty `moss`.

use serde::{Deserialize, Serialize};

use crate::{Specials, SystemText, TextError, Tokenizer, Turn};

const VERSION: u32 = 1;

/// A saved conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Version of the format.
    pub version: u32,
    /// The system prompt; `None` for the published meta instruction.
    #[serde(default)]
    pub system: Option<String>,
    /// The turns, oldest first.
    pub turns: Vec<SavedTurn>,
}

/// A saved turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTurn {
    /// The user's message.
    pub user: String,
    /// The reply as text, without special tokens.
    pub moss: String,
    /// The reply's ids, special tokens included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
}

impl Conversation {
    /// Converts turns to text and ids.
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

    /// Returns indented JSON.
    ///
    /// # Errors
    /// [`TextError::Conversation`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, TextError> {
        serde_json::to_string_pretty(self).map_err(|source| TextError::Conversation { source })
    }

    /// Parses a saved conversation.
    ///
    /// # Errors
    /// [`TextError::Conversation`] for anything else; [`TextError::ConversationVersion`] for another
    /// version of the format.
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

    /// Returns the system prompt.
    pub fn system(&self) -> SystemText {
        self.system
            .clone()
            .map_or(SystemText::Published, SystemText::Custom)
    }

    /// Converts the turns to ids.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn turns(&self, tokenizer: &Tokenizer) -> Result<Vec<Turn>, TextError> {
        let turn = |saved: &SavedTurn| {
            let decoded = tokenizer.decode(&saved.ids, Specials::Skip);
            // A turn without a reply has neither ids nor text, and its reply stays empty.
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
