//! Sampling parameters, checked once.

use crate::SamplingError;

/// How a token is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Scores are divided by this; 0 takes the best token always.
    pub temperature: f32,
    /// Only the best `k` tokens, and those that tie with the last of them; `None` or 0 for all.
    pub top_k: Option<usize>,
    /// Only the smallest set of best tokens whose mass reaches this; at least one.
    pub top_p: f32,
    /// Only tokens at least this likely, relative to the likeliest; 0 for all.
    pub min_p: f32,
    /// Scores of tokens seen before, in prompt or answer, are divided by this if positive and
    /// multiplied if negative; 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted from the scores of tokens that the answer holds already, once; 0 for none.
    pub presence_penalty: f32,
    /// The same, once an occurrence; 0 for none.
    pub frequency_penalty: f32,
    /// Added to the scores of these tokens; `-inf` rules one out. An id that may not be drawn is an
    /// error.
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes long answers end sooner or later.
    pub stop_length_penalty: Option<StopLengthPenalty>,
    /// The same seed gives the same text on the same build; `None` takes one from the system.
    pub seed: Option<u64>,
}

/// From token `after` of an answer on, the probability of its stop tokens is multiplied by `factor`
/// once more with every token: the length penalty of upstream's `moss_inference.py`.
#[derive(Debug, Clone, PartialEq)]
pub struct StopLengthPenalty {
    /// Above 1 for shorter answers, below 1 for longer ones.
    pub factor: f32,
    /// Tokens that are free of it; see [`StopLengthPenalty::AFTER`].
    pub after: usize,
    /// The tokens that end an answer. An engine puts the request's stop tokens here if it is empty.
    pub stop_ids: Vec<u32>,
}

impl StopLengthPenalty {
    /// Upstream's [`StopLengthPenalty::after`].
    pub const AFTER: usize = 512;
}

impl SamplingParams {
    /// The settings of the published chat demos, with a seed from the system.
    pub const CHAT: Self = Self {
        temperature: 0.7,
        top_k: Some(40),
        top_p: 0.8,
        min_p: 0.0,
        repetition_penalty: 1.02,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        logit_bias: Vec::new(),
        stop_length_penalty: None,
        seed: None,
    };

    /// The best token always, without penalty.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            repetition_penalty: 1.0,
            ..Self::CHAT
        }
    }

    /// Passes parameters within their ranges.
    ///
    /// # Errors
    /// [`SamplingError::Parameter`] naming the first that is not.
    pub fn check(&self) -> Result<(), SamplingError> {
        let within = |name, found: f32, ok: bool, expected| match ok {
            true => Ok(()),
            false => Err(SamplingError::Parameter {
                name,
                found,
                expected,
            }),
        };
        let (t, penalty) = (self.temperature, self.repetition_penalty);
        within("temperature", t, t.is_finite() && t >= 0.0, "0 or more")?;
        within(
            "top_p",
            self.top_p,
            (0.0..=1.0).contains(&self.top_p),
            "0 to 1",
        )?;
        within(
            "min_p",
            self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            "0 to 1",
        )?;
        within(
            "repetition_penalty",
            penalty,
            penalty.is_finite() && penalty > 0.0,
            "above 0",
        )?;
        within(
            "presence_penalty",
            self.presence_penalty,
            self.presence_penalty.is_finite(),
            "a number",
        )?;
        within(
            "frequency_penalty",
            self.frequency_penalty,
            self.frequency_penalty.is_finite(),
            "a number",
        )?;
        let added = |bias: &f32| !bias.is_nan() && *bias < f32::INFINITY;
        let bad = self
            .logit_bias
            .iter()
            .map(|(_, bias)| *bias)
            .find(|bias| !added(bias));
        within(
            "logit_bias",
            bad.unwrap_or(0.0),
            bad.is_none(),
            "a number or -inf",
        )?;
        let factor = self
            .stop_length_penalty
            .as_ref()
            .map_or(1.0, |penalty| penalty.factor);
        within(
            "length_penalty",
            factor,
            factor.is_finite() && factor > 0.0,
            "above 0",
        )
    }
}
