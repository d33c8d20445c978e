//! Settings of a chat.

use std::time::Duration;

use moss_sampling::SamplingParams;

/// Settings of the replies of a chat.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// Settings of sampling.
    pub sampling: SamplingParams,
    /// The most tokens of a reply; `None` for as many as the context length allows.
    pub max_new_tokens: Option<usize>,
    /// The longest time of a reply, from its first token.
    pub time_limit: Option<Duration>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            sampling: SamplingParams::CHAT,
            max_new_tokens: None,
            time_limit: None,
        }
    }
}
