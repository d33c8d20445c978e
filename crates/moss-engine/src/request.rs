//! Requests to the engine.

use std::{sync::Arc, time::Duration};

use moss_model::MossConfig;
use moss_sampling::{LogitsProcessor, SamplingParams};
use moss_text::{NextRun, TextMode};

use crate::prefix_cache::Scope;

/// The ids that may be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vocabulary {
    /// The tokens of the tokenizer; every row without a tokenizer.
    #[default]
    RealTokens,
    /// Every row of the embedding.
    EveryRow,
}

/// The conditions that end a reply before the context length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StopRules {
    /// The most tokens to generate; `None` for as many as the context length allows. 0 only fills
    /// the cache with the prompt.
    pub max_new_tokens: Option<usize>,
    /// Tokens that end the reply; none by default. A chat adds the end-of-turn tokens.
    pub stop_ids: Vec<u32>,
    /// Strings that end the reply, even if they span several tokens.
    pub stop_strings: Vec<String>,
    /// The longest time of the reply, from its first token. A running forward batch is interrupted
    /// between layers.
    pub time_limit: Option<Duration>,
    /// The longest time from admission to the first token.
    pub prompt_limit: Option<PromptLimit>,
}

impl StopRules {
    /// Returns the rules for text outside of a conversation: stop at the end-of-text token of the
    /// model's configuration, if it has one.
    pub fn end_of_text(config: &MossConfig) -> Self {
        Self {
            stop_ids: config.eos_token_id.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// The longest time from admission to the first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptLimit {
    /// This time.
    Fixed(Duration),
    /// A multiple of the time that the measured speed predicts for this prompt and the earlier
    /// ones, and at least the `stall_time` of [`crate::EngineOptions`]. Without a measurement, the
    /// time is unlimited.
    Measured,
}

/// A prompt, and how to continue it.
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Settings of sampling.
    pub sampling: SamplingParams,
    /// Custom logits processors, applied before the built-in ones.
    pub processors: Vec<Box<dyn LogitsProcessor>>,
    /// When to stop.
    pub stop: StopRules,
    /// The ids that may be sampled.
    pub vocabulary: Vocabulary,
    /// Adds log-probabilities to each token: that of the token, and those of this many most likely
    /// ones. `None` disables them.
    pub logprobs: Option<usize>,
    /// The format of the text, which gives its segments; plain text by default.
    pub text: TextMode,
    /// Assigns text to its tokens, in [`crate::Event::Text`].
    pub align: bool,
    /// The owner of the request, such as an API key; empty by default. Owners take turns, and
    /// share no cached prefixes except pinned ones.
    pub owner: Arc<str>,
    /// Restricts the sharing of cached prefixes to requests of the owner with the same key.
    pub cache_key: Option<Arc<str>>,
    /// The next run of a reply whose earlier run has ended, see [`NextRun`]. [`crate::Metrics`] do
    /// not count it as another request, and it is accepted if the queue is full.
    pub is_follow_up: bool,
}

impl Request {
    /// Creates a request without limits or stop tokens.
    pub fn new(prompt: Vec<u32>, sampling: SamplingParams) -> Self {
        let (stop, vocabulary) = (StopRules::default(), Vocabulary::default());
        Self {
            prompt,
            sampling,
            processors: Vec::new(),
            stop,
            vocabulary,
            logprobs: None,
            text: TextMode::default(),
            align: false,
            owner: Arc::from(""),
            cache_key: None,
            is_follow_up: false,
        }
    }

    /// Creates a request for one run of a reply.
    pub fn of(run: NextRun, sampling: SamplingParams) -> Self {
        let stop = StopRules {
            max_new_tokens: run.max_new_tokens,
            stop_ids: run.stop_ids,
            ..StopRules::default()
        };
        Self {
            stop,
            text: run.text,
            is_follow_up: run.is_follow_up,
            ..Self::new(run.prompt, sampling)
        }
    }
}

impl Request {
    /// Returns the scope of its cached prefixes.
    pub(crate) fn scope(&self) -> Scope {
        Scope::Only {
            owner: self.owner.clone(),
            cache_key: self.cache_key.clone(),
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("prompt", &self.prompt.len())
            .field("sampling", &self.sampling)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}
