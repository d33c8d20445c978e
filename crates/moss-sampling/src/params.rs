//! Sampling parameters.

use crate::{ParameterRange, SamplingError};

/// Parameters of sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divisor of the logits; 0 for greedy decoding.
    pub temperature: f32,
    /// Keeps the `k` most likely tokens, and those that tie with the last one; `None` or 0 for all.
    pub top_k: Option<usize>,
    /// Keeps the smallest set of most likely tokens whose probabilities sum up to this; at least
    /// one.
    pub top_p: f32,
    /// Keeps tokens whose probability is at least this share of the highest one; 0 for all.
    pub min_p: f32,
    /// Penalty on tokens of prompt and reply: positive logits are divided by it, negative ones are
    /// multiplied; 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens in the reply, once; 0 for none.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens in the reply, once per occurrence; 0 for none.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; `-inf` excludes one. An id that may not be sampled is
    /// an error.
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes long replies end sooner or later.
    pub stop_length_penalty: Option<StopLengthPenalty>,
    /// The same seed gives the same text with the same build; `None` for a random one.
    pub seed: Option<u64>,
}

/// The length penalty of upstream's `moss_inference.py`: from token `after` of a reply on, the
/// probability of stop tokens is multiplied by `factor` once more with every token.
#[derive(Debug, Clone, PartialEq)]
pub struct StopLengthPenalty {
    /// Above 1 for shorter replies, below 1 for longer ones.
    pub factor: f32,
    /// Tokens without the penalty; see [`StopLengthPenalty::AFTER`].
    pub after: usize,
    /// The tokens that end a reply. If it is empty, an engine uses the request's stop tokens.
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

    /// Returns the parameters of greedy decoding without penalties.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            repetition_penalty: 1.0,
            ..Self::CHAT
        }
    }

    /// Checks the range of every parameter.
    ///
    /// # Errors
    /// [`SamplingError::Parameter`] naming the first one outside its range.
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
        within(
            "temperature",
            t,
            t.is_finite() && t >= 0.0,
            ParameterRange::AtLeastZero,
        )?;
        within(
            "top_p",
            self.top_p,
            (0.0..=1.0).contains(&self.top_p),
            ParameterRange::ZeroToOne,
        )?;
        within(
            "min_p",
            self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            ParameterRange::ZeroToOne,
        )?;
        within(
            "repetition_penalty",
            penalty,
            penalty.is_finite() && penalty > 0.0,
            ParameterRange::AboveZero,
        )?;
        within(
            "presence_penalty",
            self.presence_penalty,
            self.presence_penalty.is_finite(),
            ParameterRange::Finite,
        )?;
        within(
            "frequency_penalty",
            self.frequency_penalty,
            self.frequency_penalty.is_finite(),
            ParameterRange::Finite,
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
            ParameterRange::FiniteOrNegInf,
        )?;
        let factor = self
            .stop_length_penalty
            .as_ref()
            .map_or(1.0, |penalty| penalty.factor);
        within(
            "length_penalty",
            factor,
            factor.is_finite() && factor > 0.0,
            ParameterRange::AboveZero,
        )
    }
}
