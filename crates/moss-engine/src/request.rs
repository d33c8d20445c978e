//! What is asked of the engine.

use std::time::Duration;

use moss_model::MossConfig;
use moss_sampling::{LogitsStep, SamplingParams};
use moss_text::{NextRun, TextMode};

/// Which ids may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vocabulary {
    /// The tokenizer's real tokens; every row where there is no tokenizer.
    #[default]
    RealTokens,
    /// Every row of the embedding.
    EveryRow,
}

/// When to stop, besides a full window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StopRules {
    /// Tokens to generate at most; `None` for as many as the window holds, 0 to run the prompt and
    /// no more (it warms a session).
    pub max_new_tokens: Option<usize>,
    /// Tokens that end the answer; none by default, so that nothing is ignored in secret. A chat
    /// adds its own.
    pub stop_ids: Vec<u32>,
    /// Strings that end the answer, also where they are split over tokens.
    pub stop_strings: Vec<String>,
    /// Time of the answer, from its first token; a running step is interrupted between layers.
    pub time_limit: Option<Duration>,
    /// Time of the prompt, from when the request leaves the queue until its first token; none by
    /// default.
    pub prompt_limit: Option<PromptLimit>,
}

impl StopRules {
    /// Stops at the end token of the model's config, where it has one: the rule for text outside of
    /// a conversation.
    pub fn end_of_text(config: &MossConfig) -> Self {
        Self {
            stop_ids: config.eos_token_id.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// How long a prompt may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptLimit {
    /// Exactly this long.
    Fixed(Duration),
    /// Several times what the engine's measured speed predicts for this prompt and those ahead of
    /// it, and at least the `stall_time` of [`crate::EngineOptions`]. There is no limit until a
    /// speed has been measured.
    Measured,
}

/// A prompt and how to go on from it.
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Steps of one's own, before all filters.
    pub steps: Vec<Box<dyn LogitsStep>>,
    /// When to stop.
    pub stop: StopRules,
    /// Which ids may be drawn.
    pub vocabulary: Vocabulary,
    /// Tells with each token how likely it was, and this many of the likeliest; `None` for no such
    /// thing. It costs a pass over the row.
    pub logprobs: Option<usize>,
    /// What the text is; text as it is by default.
    pub text: TextMode,
    /// Assigns text to its tokens, in [`crate::Event::Text`].
    pub align: bool,
    /// [`crate::Session::id`] of the cache to go on from, and to leave behind.
    pub session: Option<u64>,
}

impl Request {
    /// A request without limits, stop tokens or session.
    pub fn new(prompt: Vec<u32>, sampling: SamplingParams) -> Self {
        let (stop, vocabulary) = (StopRules::default(), Vocabulary::default());
        Self {
            prompt,
            sampling,
            steps: Vec::new(),
            stop,
            vocabulary,
            logprobs: None,
            text: TextMode::default(),
            align: false,
            session: None,
        }
    }

    /// A request for one run of a reply, without a session.
    pub fn of(run: NextRun, sampling: SamplingParams) -> Self {
        let stop = StopRules {
            max_new_tokens: run.max_new_tokens,
            stop_ids: run.stop_ids,
            ..StopRules::default()
        };
        Self {
            stop,
            text: run.text,
            ..Self::new(run.prompt, sampling)
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
