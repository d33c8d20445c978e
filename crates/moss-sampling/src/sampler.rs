//! The chain of filters, and the draw.

use crate::{
    SamplingError, SamplingParams, TopKCandidates, TopKRequest,
    candidate::{self, Candidate},
    logits,
    rng::Rng,
    steps::{
        bias, min_p, presence, repetition::Repetition, stop_length, temperature, top_k::TopK,
        top_p::TopP,
    },
};

/// A step of one's own, before all others.
pub trait LogitsStep: Send {
    /// Edits `logits` (one per vocabulary entry) in place; `-inf` rules a token out. `history`
    /// holds token ids, oldest first, the last `generated` of which are the answer so far.
    fn apply(&mut self, logits: &mut [f32], history: &[u32], generated: usize);
}

/// Draws tokens. Scratch space is kept from token to token.
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
    steps: Vec<Box<dyn LogitsStep>>,
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
            .field("steps", &self.steps.len())
            .finish()
    }
}

impl Sampler {
    /// # Errors
    /// [`SamplingError::Parameter`] for a parameter outside its range.
    pub fn new(params: SamplingParams) -> Result<Self, SamplingError> {
        params.check()?;
        Ok(Self {
            rng: Rng::new(params.seed),
            params,
            steps: Vec::new(),
            repetition: Repetition::default(),
            top_k: TopK::default(),
            top_p: TopP::default(),
            candidates: Vec::new(),
        })
    }

    /// Adds a step of one's own, after those added before.
    #[must_use]
    pub fn with_step(mut self, step: Box<dyn LogitsStep>) -> Self {
        self.steps.push(step);
        self
    }

    /// The seed in use: the one given, or the one that the system gave.
    pub fn seed(&self) -> u64 {
        self.rng.seed
    }

    /// One token below `allowed`. `history` holds prompt and answer so far, the last `generated`
    /// ids being the answer; ids in it that have no logit are passed over. `logits` (one per
    /// vocabulary entry) are scratch afterwards.
    ///
    /// # Errors
    /// [`SamplingError::BadLogits`] or [`SamplingError::NothingLeft`] naming the step;
    /// [`SamplingError::UnknownBias`] for a bias of an id that may not be drawn.
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

    /// Returns the top-k request that a model may answer in place of a row, for a token below
    /// `allowed` after `history`; `None` if the whole row is needed: for steps of one's own, a
    /// bias, penalties that count, and a top-k that is off or large.
    pub fn top_k_request<'h>(&self, history: &'h [u32], allowed: usize) -> Option<TopKRequest<'h>> {
        let SamplingParams {
            temperature,
            repetition_penalty,
            top_k,
            ..
        } = self.params;
        let top_k = if temperature == 0.0 { 1 } else { top_k? };
        let few = (1..=TopKRequest::MAX_TOP_K).contains(&top_k);
        let plain = self.params.presence_penalty == 0.0
            && self.params.frequency_penalty == 0.0
            && self.params.logit_bias.is_empty();
        (self.steps.is_empty() && plain && few).then_some(TopKRequest {
            history,
            repetition_penalty,
            temperature,
            top_k,
            allowed,
        })
    }

    /// Draws the token that [`Sampler::sample`] would have drawn from the row whose candidates for
    /// [`Sampler::top_k_request`] these are.
    ///
    /// # Errors
    /// As for [`Sampler::sample`].
    pub fn sample_candidates(
        &mut self,
        candidates: &TopKCandidates,
        generated: usize,
    ) -> Result<u32, SamplingError> {
        self.filter_from_top_k(candidates, generated)?;
        self.draw(generated)
    }

    /// The tokens that [`Sampler::sample`] would draw from, with their probabilities, the likeliest
    /// first and lower ids first among equals, as far as an f32 tells the probability from 0.
    /// Nothing is drawn; `logits` are scratch afterwards here too.
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

    /// As [`Sampler::kept`], of what [`Sampler::sample_candidates`] would draw from.
    ///
    /// # Errors
    /// As for [`Sampler::sample`].
    pub fn kept_candidates(
        &mut self,
        candidates: &TopKCandidates,
        generated: usize,
    ) -> Result<Vec<(u32, f32)>, SamplingError> {
        self.filter_from_top_k(candidates, generated)?;
        Ok(self.ranked())
    }

    /// One of `candidates`, by weight.
    fn draw(&mut self, step: usize) -> Result<u32, SamplingError> {
        let mut left = self.rng.uniform() * self.total();
        let drawn = self.candidates.iter().find(|candidate| {
            left -= candidate.weight;
            left < 0.0
        });
        // Rounding can leave a crumb past the last weight.
        let drawn = drawn.or_else(|| {
            self.candidates
                .iter()
                .rfind(|candidate| candidate.weight > 0.0)
        });
        drawn
            .map(|candidate| candidate.id)
            .ok_or(SamplingError::NothingLeft { step })
    }

    /// The likeliest of `candidates` first, with their probabilities.
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

    /// Sum of the weights, in the order in which a draw takes them away.
    fn total(&self) -> f64 {
        self.candidates
            .iter()
            .map(|candidate| candidate.weight)
            .sum()
    }

    /// Leaves in `candidates` what may be drawn: at least one.
    fn filter(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<(), SamplingError> {
        for step in &mut self.steps {
            step.apply(logits, history, generated);
        }
        let allowed = allowed.min(logits.len());
        let logits = &mut logits[..allowed];
        logits::check(logits, generated)?;
        bias::apply(logits, &self.params.logit_bias)?;
        self.repetition
            .apply(logits, history, self.params.repetition_penalty);
        let answer = &history[history.len().saturating_sub(generated)..];
        presence::apply(
            logits,
            answer,
            self.params.presence_penalty,
            self.params.frequency_penalty,
        );
        // A step or a large penalty can rule out the last token.
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

    /// The same, from the candidates of top-k on.
    fn filter_from_top_k(
        &mut self,
        TopKCandidates(found): &TopKCandidates,
        step: usize,
    ) -> Result<(), SamplingError> {
        let bad = found
            .iter()
            .filter(|(_, score)| score.is_nan() || *score == f32::INFINITY);
        if let Some(&(id, value)) = bad.min_by_key(|(id, _)| *id) {
            return Err(SamplingError::BadLogits {
                step,
                id: id as usize,
                value,
            });
        }
        self.candidates.clear();
        let possible = found.iter().filter(|(_, score)| *score > f32::NEG_INFINITY);
        self.candidates
            .extend(possible.map(|(id, score)| Candidate::new(*id as usize, *score)));
        // The order in which weights are summed and taken away is that of a whole row.
        self.candidates
            .sort_unstable_by_key(|candidate| candidate.id);
        let best = self
            .candidates
            .iter()
            .fold(f32::NEG_INFINITY, |best, found| best.max(found.score));
        if best == f32::NEG_INFINITY {
            return Err(SamplingError::NothingLeft { step });
        }
        if self.params.temperature == 0.0 {
            self.candidates.retain(|candidate| candidate.score == best);
            self.candidates.truncate(1);
            self.candidates
                .iter_mut()
                .for_each(|candidate| candidate.weight = 1.0);
            return Ok(());
        }
        self.filter_candidates(step);
        Ok(())
    }

    /// The links that need no row: weights, top-p, min-p, stop-token length penalty.
    fn filter_candidates(&mut self, generated: usize) {
        candidate::weigh(&mut self.candidates);
        self.top_p.keep(&mut self.candidates, self.params.top_p);
        min_p::keep(&mut self.candidates, self.params.min_p);
        if let Some(penalty) = &self.params.stop_length_penalty {
            stop_length::apply(&mut self.candidates, penalty, generated);
        }
    }
}
