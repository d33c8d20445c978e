//! The chain of filters, and the draw.

use crate::{
    SamplingError, SamplingParams,
    rng::Rng,
    steps::{
        repetition::Repetition,
        top_k::{self, Candidate},
        top_p,
    },
};

/// A step of one's own, before all others.
pub trait LogitsStep: Send {
    /// Edits `logits` (one per vocabulary entry) in place; `history` holds token ids, oldest first, the last `generated` of which are the
    /// answer so far.
    fn apply(&mut self, logits: &mut [f32], history: &[u32], generated: usize);
}

/// Tokens looked at first where top-k does not say how many; eight times as many while they do not make up top-p.
const FIRST_LOOK: usize = 512;

/// Draws tokens. Scratch space is kept from token to token.
pub struct Sampler {
    params: SamplingParams,
    steps: Vec<Box<dyn LogitsStep>>,
    rng: Rng,
    repetition: Repetition,
    maxima: Vec<f32>,
    candidates: Vec<Candidate>,
    weights: Vec<f64>,
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
            maxima: Vec::new(),
            candidates: Vec::new(),
            weights: Vec::new(),
        })
    }

    /// Adds a step of one's own.
    #[must_use]
    pub fn with_step(mut self, step: Box<dyn LogitsStep>) -> Self {
        self.steps.push(step);
        self
    }

    /// The seed in use: the one given, or the one that the system gave.
    pub fn seed(&self) -> u64 {
        self.rng.seed
    }

    /// One token below `allowed`. `history` holds prompt and answer so far, the last `generated` ids being the answer.
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
        let count = self.filter(logits, history, generated, allowed)?;
        let weights = &self.weights[..count];
        let mut left = self.rng.uniform() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding can leave a crumb past the last weight.
        let drawn = drawn.unwrap_or_else(|| weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0));
        Ok(self.candidates[drawn].id)
    }

    /// The tokens that [`Sampler::sample`] would draw from, with their probabilities, the likeliest first. Nothing is drawn.
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
        let count = self.filter(logits, history, generated, allowed)?;
        let total: f64 = self.weights[..count].iter().sum();
        let kept = self.candidates.iter().zip(&self.weights[..count]);
        Ok(kept.map(|(candidate, weight)| (candidate.id, (weight / total) as f32)).collect())
    }

    /// Fills `candidates` and `weights`, best first; returns how many are kept.
    fn filter(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        generated: usize,
        allowed: usize,
    ) -> Result<usize, SamplingError> {
        for step in &mut self.steps {
            step.apply(logits, history, generated);
        }
        let allowed = allowed.min(logits.len());
        let logits = &mut logits[..allowed];
        check(logits, generated)?;
        self.repetition.apply(logits, history, self.params.repetition_penalty);
        if self.params.temperature == 0.0 {
            top_k::select(logits, 1, &mut self.maxima, &mut self.candidates);
            // The lowest id among equals stands last.
            self.candidates.drain(..self.candidates.len().saturating_sub(1));
            self.weights.clear();
            self.weights.push(1.0);
            return self.not_empty(generated).map(|()| 1);
        }
        let count = match self.params.top_k {
            Some(k) if k > 0 => {
                top_k::select(logits, k, &mut self.maxima, &mut self.candidates);
                self.weigh();
                let total = self.weights.iter().sum();
                top_p::nucleus(&self.weights, total, self.params.top_p.into()).unwrap_or(self.weights.len())
            }
            _ => self.nucleus_of_all(logits),
        };
        self.not_empty(generated)?;
        let count = self.min_p(count);
        self.stop_penalty(count, generated);
        Ok(count)
    }

    /// A penalty can push the last finite score to -inf.
    fn not_empty(&self, step: usize) -> Result<(), SamplingError> {
        if self.candidates.is_empty() { Err(SamplingError::NothingLeft { step }) } else { Ok(()) }
    }

    /// Top-p over the whole vocabulary: looks at more and more of the best tokens until they make up its mass.
    fn nucleus_of_all(&mut self, logits: &[f32]) -> usize {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let temperature = self.params.temperature;
        let total: f64 = logits.iter().map(|score| weight(*score, best, temperature)).sum();
        let mut look = if self.params.top_p < 1.0 { FIRST_LOOK } else { logits.len() };
        loop {
            top_k::select(logits, look, &mut self.maxima, &mut self.candidates);
            self.weigh();
            match top_p::nucleus(&self.weights, total, self.params.top_p.into()) {
                Some(count) => return count,
                None if look >= logits.len() => return self.weights.len(),
                None => look *= 8,
            }
        }
    }

    fn weigh(&mut self) {
        let best = self.candidates.first().map_or(0.0, |candidate| candidate.score);
        let temperature = self.params.temperature;
        self.weights.clear();
        self.weights
            .extend(self.candidates.iter().map(|candidate| weight(candidate.score, best, temperature)));
    }

    fn min_p(&self, count: usize) -> usize {
        let least = f64::from(self.params.min_p) * self.weights.first().copied().unwrap_or(0.0);
        self.weights[..count].partition_point(|weight| *weight >= least).max(1)
    }

    fn stop_penalty(&mut self, count: usize, generated: usize) {
        let Some(penalty) = &self.params.stop_length_penalty else { return };
        let past = generated.saturating_sub(penalty.after).min(10_000) as i32;
        for (candidate, weight) in self.candidates.iter().zip(&mut self.weights[..count]) {
            if past > 0 && count > 1 && penalty.stop_ids.contains(&candidate.id) {
                *weight = (*weight * f64::from(penalty.factor).powi(past)).clamp(f64::MIN_POSITIVE, 1e300);
            }
        }
    }
}

/// Probability before it is made to sum to one.
fn weight(score: f32, best: f32, temperature: f32) -> f64 {
    // Divided in f32, as transformers does, so that what ties there ties here.
    f64::from(score / temperature - best / temperature).exp()
}

/// Refuses NaN, +inf, and logits that leave no token.
fn check(logits: &[f32], step: usize) -> Result<(), SamplingError> {
    // A sum over a run is finite exactly if all of it is; `-inf` needs the second look.
    for (run, values) in logits.chunks(256).enumerate() {
        if values.iter().map(|value| value * 0.0).sum::<f32>() == 0.0 {
            continue;
        }
        for (at, &value) in values.iter().enumerate() {
            if value.is_nan() || value == f32::INFINITY {
                return Err(SamplingError::BadLogits { step, id: run * 256 + at, value });
            }
        }
    }
    match logits.iter().any(|value| *value > f32::NEG_INFINITY) {
        true => Ok(()),
        false => Err(SamplingError::NothingLeft { step }),
    }
}
