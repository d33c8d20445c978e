//! The chain of filters, and the draw.

use crate::{
    SamplingError, SamplingParams,
    candidate::{self, Candidate},
    logits,
    rng::Rng,
    steps::{min_p, repetition::Repetition, stop_length, temperature, top_k::TopK, top_p::TopP},
};

/// A step of one's own, before all others.
pub trait LogitsStep: Send {
    /// Edits `logits` (one per vocabulary entry) in place; `-inf` rules a token out. `history` holds token ids, oldest first, the last
    /// `generated` of which are the answer so far.
    fn apply(&mut self, logits: &mut [f32], history: &[u32], generated: usize);
}

/// Draws tokens. Scratch space is kept from token to token.
///
/// ```
/// use moss_sampling::{Sampler, SamplingParams};
///
/// let mut sampler = Sampler::new(SamplingParams { seed: Some(7), ..SamplingParams::chat() })?;
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
        f.debug_struct("Sampler").field("params", &self.params).field("steps", &self.steps.len()).finish()
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

    /// One token below `allowed`. `history` holds prompt and answer so far, the last `generated` ids being the answer; ids in it that
    /// have no logit are passed over. `logits` (one per vocabulary entry) are scratch afterwards.
    ///
    /// # Errors
    /// [`SamplingError::BadLogits`] or [`SamplingError::NothingLeft`] naming the step.
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<u32, SamplingError> {
        self.filter(logits, history, generated, allowed)?;
        let mut left = self.rng.uniform() * self.total();
        let drawn = self.candidates.iter().find(|candidate| {
            left -= candidate.weight;
            left < 0.0
        });
        // Rounding can leave a crumb past the last weight.
        let drawn = drawn.or_else(|| self.candidates.iter().rfind(|candidate| candidate.weight > 0.0));
        drawn.map(|candidate| candidate.id).ok_or(SamplingError::NothingLeft { step: generated })
    }

    /// The tokens that [`Sampler::sample`] would draw from, with their probabilities, the likeliest first and lower ids first among
    /// equals, as far as an f32 tells the probability from 0. Nothing is drawn; `logits` are scratch afterwards here too.
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
        let total = self.total();
        self.candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
        let kept = self.candidates.iter().map(|kept| (kept.id, (kept.weight / total) as f32));
        Ok(kept.take_while(|(_, probability)| *probability > 0.0).collect())
    }

    /// Sum of the weights, in the order in which a draw takes them away.
    fn total(&self) -> f64 {
        self.candidates.iter().map(|candidate| candidate.weight).sum()
    }

    /// Leaves in `candidates` what may be drawn: at least one, in no particular order.
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
        self.repetition.apply(logits, history, self.params.repetition_penalty);
        // A step or a large penalty can rule out the last token.
        let best = logits::best_token(logits).ok_or(SamplingError::NothingLeft { step: generated })?;
        if temperature::is_greedy(self.params.temperature, logits[best]) {
            self.candidates.clear();
            self.candidates.push(Candidate { weight: 1.0, ..Candidate::new(best, logits[best]) });
            return Ok(());
        }
        temperature::apply(logits, self.params.temperature);
        self.top_k.select(logits, self.params.top_k.unwrap_or(0), &mut self.candidates);
        candidate::weigh(&mut self.candidates);
        self.top_p.keep(&mut self.candidates, self.params.top_p);
        min_p::keep(&mut self.candidates, self.params.min_p);
        if let Some(penalty) = &self.params.stop_length_penalty {
            stop_length::apply(&mut self.candidates, penalty, generated);
        }
        Ok(())
    }
}
