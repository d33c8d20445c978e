//! The chain of logits processors, and sampling.

use crate::{
    SampleRequest, SamplingError, SamplingParams,
    candidate::{self, Candidate},
    logits,
    processors::{
        bias, min_p, presence, repetition::Repetition, stop_length, temperature, top_k::TopK,
        top_p::TopP,
    },
    rng::Rng,
};

/// A custom logits processor. It runs before the built-in ones.
pub trait LogitsProcessor: Send {
    /// Edits `logits` (one per row of the vocabulary) in place; `-inf` excludes a token. `history`
    /// has the token ids, oldest first; the last `generated` of them are the reply so far.
    fn apply(&mut self, logits: &mut [f32], history: &[u32], generated: usize);
}

/// Samples tokens. Buffers are reused from token to token.
///
/// ```
/// use moss_sampling::{Sampler, SamplingParams};
///
/// let mut sampler = Sampler::new(SamplingParams { seed: Some(7), ..SamplingParams::CHAT })?;
/// let mut logits = [0.5, 9.0, -1.0, 99.0];
/// // The row of id 3 has no token: only ids below 3 are allowed.
/// assert_eq!(sampler.sample(&mut logits, &[0, 2], 1, 3)?, 1);
/// # Ok::<(), moss_sampling::SamplingError>(())
/// ```
pub struct Sampler {
    params: SamplingParams,
    processors: Vec<Box<dyn LogitsProcessor>>,
    rng: Rng,
    repetition: Repetition,
    top_k: TopK,
    top_p: TopP,
    candidates: Vec<Candidate>,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler")
            .field("params", &self.params)
            .field("processors", &self.processors.len())
            .finish()
    }
}

impl Sampler {
    /// Creates a sampler.
    ///
    /// # Errors
    /// [`SamplingError::Parameter`] for a parameter outside its range.
    pub fn new(params: SamplingParams) -> Result<Self, SamplingError> {
        params.check()?;
        Ok(Self {
            rng: Rng::new(params.seed),
            params,
            processors: Vec::new(),
            repetition: Repetition::default(),
            top_k: TopK::default(),
            top_p: TopP::default(),
            candidates: Vec::new(),
        })
    }

    /// Adds a custom logits processor, after those added before.
    #[must_use]
    pub fn with_processor(mut self, processor: Box<dyn LogitsProcessor>) -> Self {
        self.processors.push(processor);
        self
    }

    /// Returns the seed in use: that of the parameters, or a random one.
    pub fn seed(&self) -> u64 {
        self.rng.seed
    }

    /// Samples one token below `allowed`. `history` has prompt and reply so far; the last
    /// `generated` ids are the reply. Ids without a logit are ignored. `logits` (one per row of the
    /// vocabulary) are overwritten.
    ///
    /// # Errors
    /// [`SamplingError::BadLogits`] or [`SamplingError::NothingLeft`] with the step;
    /// [`SamplingError::UnknownBias`] for a bias of an id that may not be sampled.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<u32, SamplingError> {
        self.filter(logits, history, generated, allowed)?;
        self.draw(generated)
    }

    /// Returns the request for the next token below `allowed`, so that the model samples on its
    /// device; arguments as for [`Sampler::sample`]. It contains the random number of the token,
    /// which [`Sampler::accept`] consumes.
    ///
    /// `None` if all logits are needed: with custom processors, a logit bias, presence or frequency
    /// penalties, a top-k that is off or large, or a length penalty on many stop tokens.
    pub fn request<'a>(
        &'a self,
        history: &'a [u32],
        generated: usize,
        allowed: usize,
    ) -> Option<SampleRequest<'a>> {
        self.request_ahead(history, generated, allowed, 0)
    }

    /// Returns the request for the token after `ahead` others that are sampled first, as
    /// [`Sampler::request`] returns it once they are accepted. `history` and `generated` include
    /// them: draft tokens, which are verified in one forward pass.
    pub fn request_ahead<'a>(
        &'a self,
        history: &'a [u32],
        generated: usize,
        allowed: usize,
        ahead: usize,
    ) -> Option<SampleRequest<'a>> {
        let params = &self.params;
        let top_k = if params.temperature == 0.0 {
            1
        } else {
            params.top_k?
        };
        let penalty = params.stop_length_penalty.as_ref();
        let stop_factor = stop_length::factor(penalty, generated);
        let stop_ids = match (penalty, stop_factor) {
            (Some(penalty), Some(_)) => penalty.stop_ids.as_slice(),
            _ => &[],
        };
        let is_possible = self.processors.is_empty()
            && params.presence_penalty == 0.0
            && params.frequency_penalty == 0.0
            && params.logit_bias.is_empty()
            && (1..=SampleRequest::MAX_CANDIDATES).contains(&top_k)
            && stop_ids.len() <= SampleRequest::MAX_STOP_IDS;
        is_possible.then_some(SampleRequest {
            history,
            repetition_penalty: params.repetition_penalty,
            temperature: params.temperature,
            top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            stop_ids,
            stop_factor: stop_factor.unwrap_or(1.0),
            allowed,
            uniform: self.rng.peek(ahead),
        })
    }

    /// Accepts the token that the model returned for [`Sampler::request`], and consumes its random
    /// number. Arguments as for [`Sampler::sample`].
    ///
    /// # Errors
    /// [`SamplingError::NotAllowed`] for an id that may not be sampled.
    pub fn accept(
        &mut self,
        id: u32,
        generated: usize,
        allowed: usize,
    ) -> Result<u32, SamplingError> {
        if id as usize >= allowed {
            return Err(SamplingError::NotAllowed {
                step: generated,
                id,
                tokens: allowed,
            });
        }
        self.rng.uniform();
        Ok(id)
    }

    /// Returns the distribution that [`Sampler::sample`] would sample from: ids and probabilities,
    /// in descending order, and equal ones by ascending id. Probabilities that are 0 in f32 are
    /// left out. `logits` are overwritten.
    ///
    /// # Errors
    /// As for [`Sampler::sample`].
    pub fn kept(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<Vec<(u32, f32)>, SamplingError> {
        self.filter(logits, history, generated, allowed)?;
        Ok(self.ranked())
    }

    /// Samples one of `candidates`, by weight.
    fn draw(&mut self, step: usize) -> Result<u32, SamplingError> {
        let mut left = self.rng.uniform() * self.total();
        let drawn = self.candidates.iter().find(|candidate| {
            left -= candidate.weight;
            left < 0.0
        });
        // Because of rounding, the weights may sum up to less than the total.
        let drawn = drawn.or_else(|| {
            self.candidates
                .iter()
                .rfind(|candidate| candidate.weight > 0.0)
        });
        drawn
            .map(|candidate| candidate.id)
            .ok_or(SamplingError::NothingLeft { step })
    }

    /// Returns ids and probabilities of `candidates`, the most likely first.
    fn ranked(&mut self) -> Vec<(u32, f32)> {
        let total = self.total();
        self.candidates
            .sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
        let ranked = self
            .candidates
            .iter()
            .map(|kept| (kept.id, (kept.weight / total) as f32));
        ranked
            .take_while(|(_, probability)| *probability > 0.0)
            .collect()
    }

    /// Returns the sum of the weights, in the order in which `draw` subtracts them.
    fn total(&self) -> f64 {
        self.candidates
            .iter()
            .map(|candidate| candidate.weight)
            .sum()
    }

    /// Computes `candidates` from all logits: at least one.
    fn filter(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<(), SamplingError> {
        for processor in &mut self.processors {
            processor.apply(logits, history, generated);
        }
        let allowed = allowed.min(logits.len());
        let logits = &mut logits[..allowed];
        logits::check(logits, generated)?;
        bias::apply(logits, &self.params.logit_bias)?;
        self.repetition
            .apply(logits, history, self.params.repetition_penalty);
        let reply = &history[history.len().saturating_sub(generated)..];
        presence::apply(
            logits,
            reply,
            self.params.presence_penalty,
            self.params.frequency_penalty,
        );
        // A custom processor or a large penalty may exclude every token.
        let best =
            logits::best_token(logits).ok_or(SamplingError::NothingLeft { step: generated })?;
        if temperature::is_greedy(self.params.temperature, logits[best]) {
            self.candidates.clear();
            self.candidates.push(Candidate {
                weight: 1.0,
                ..Candidate::new(best, logits[best])
            });
            return Ok(());
        }
        temperature::apply(logits, self.params.temperature);
        self.top_k
            .select(logits, self.params.top_k.unwrap_or(0), &mut self.candidates);
        self.filter_candidates(generated);
        Ok(())
    }

    /// Applies the processors after top-k: top-p, min-p, stop-token length penalty.
    fn filter_candidates(&mut self, generated: usize) {
        candidate::weigh(&mut self.candidates);
        self.top_p.keep(&mut self.candidates, self.params.top_p);
        min_p::keep(&mut self.candidates, self.params.min_p);
        let penalty = self.params.stop_length_penalty.as_ref();
        if let (Some(penalty), Some(factor)) = (penalty, stop_length::factor(penalty, generated)) {
            stop_length::apply(&mut self.candidates, &penalty.stop_ids, factor);
        }
    }
}
