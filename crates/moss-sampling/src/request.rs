//! Sampling on the device of the model.
//!
//! MOSS's logits for a token are 428 KB. A GPU need not copy them to the host if it draws the token
//! itself.

use crate::{exp::exp, processors::stop_length};

/// The request to sample one token from the logits of the model.
///
/// The steps are those of [`crate::Sampler`], with the same operations in the same order, so the
/// token is the same:
///
/// 1. The score of an id below `allowed` is its logit. If the id is in `history`, the logit is
///    multiplied by `repetition_penalty` if it is negative, and divided by it otherwise. The result
///    is divided by `temperature`, unless that is 0. Each operation is one f32 operation.
/// 2. Candidates are the ids whose score is at least the `top_k`-th largest, ties included, except
///    for scores of `-inf`. At temperature 0, the token is the candidate with the lowest id.
/// 3. The weight of a candidate is the exponential function of its score minus the best one.
/// 4. `top_p` below 1 keeps candidates, the best first and equal ones by descending id, until their
///    weights reach its share of the total, which is summed by ascending id.
/// 5. `min_p` removes candidates of a smaller weight.
/// 6. The weights of `stop_ids` are multiplied by `stop_factor`.
/// 7. `uniform` times the sum of the remaining weights selects the token. They are added and
///    subtracted in the order of step 4, and by ascending id if `top_p` is 1.
///
/// A model returns either the result of [`SampleRequest::draw`] or all logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRequest<'a> {
    /// Prompt and reply so far. An id may occur more than once, and may have no logit.
    pub history: &'a [u32],
    /// Above 0; 1 for no penalty.
    pub repetition_penalty: f32,
    /// 0 or more. 0 is greedy decoding: scores are not divided, and `top_k` is 1.
    pub temperature: f32,
    /// 1 to [`SampleRequest::MAX_CANDIDATES`].
    pub top_k: usize,
    /// 0 to 1.
    pub top_p: f32,
    /// 0 to 1.
    pub min_p: f32,
    /// At most [`SampleRequest::MAX_STOP_IDS`]; none without a penalty.
    pub stop_ids: &'a [u32],
    /// 0 or more.
    pub stop_factor: f64,
    /// Ids below this may be sampled. It may exceed the number of logits.
    pub allowed: usize,
    /// The random number of this token, in `[0, 1)`.
    pub uniform: f64,
}

impl SampleRequest<'_> {
    /// The most candidates, ties included.
    pub const MAX_CANDIDATES: usize = 256;

    /// The most stop tokens with a penalty.
    pub const MAX_STOP_IDS: usize = 5;

    /// Samples the token. This is the reference that kernels are compared with.
    ///
    /// Returns `None` if the host must sample from all logits: a logit is NaN or `+inf`, the best
    /// score is not finite, or there are more than [`SampleRequest::MAX_CANDIDATES`] candidates.
    pub fn draw(&self, logits: &[f32]) -> Option<u32> {
        let mut candidates = self.candidates(logits)?;
        let scores = candidates.iter().map(|(_, score)| *score);
        let best = scores.fold(f32::NEG_INFINITY, f32::max);
        if self.temperature == 0.0 {
            return candidates.first().map(|(id, _)| *id);
        }
        let weight = |score: f32| exp(f64::from(score - best));
        if self.top_p < 1.0 {
            let total: f64 = candidates.iter().map(|(_, score)| weight(*score)).sum();
            let wanted = f64::from(self.top_p) * total;
            candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
            let mut mass = 0.0;
            let last = candidates.iter().position(|(_, score)| {
                mass += weight(*score);
                mass >= wanted
            });
            candidates.truncate(last.map_or(candidates.len(), |last| last + 1));
        }
        let mut kept: Vec<(u32, f64)> = candidates
            .into_iter()
            .map(|(id, score)| (id, weight(score)))
            .filter(|(_, weight)| *weight >= f64::from(self.min_p))
            .collect();
        for (id, weight) in &mut kept {
            if self.stop_ids.contains(id) {
                *weight = stop_length::weight(*weight, self.stop_factor);
            }
        }
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut left = self.uniform * total;
        let drawn = kept.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Because of rounding, the weights may sum up to less than the total.
        let drawn = drawn.or_else(|| kept.iter().rfind(|(_, weight)| *weight > 0.0));
        drawn.map(|(id, _)| *id)
    }

    /// Returns ids and scores of the candidates, by ascending id. A zero has no sign.
    fn candidates(&self, logits: &[f32]) -> Option<Vec<(u32, f32)>> {
        let mut scores = logits[..self.allowed.min(logits.len())].to_vec();
        if scores
            .iter()
            .any(|score| score.is_nan() || *score == f32::INFINITY)
        {
            return None;
        }
        let mut seen = vec![false; scores.len()];
        for &id in self.history {
            if let Some(seen) = seen.get_mut(id as usize) {
                *seen = true;
            }
        }
        for (score, seen) in scores.iter_mut().zip(seen) {
            if seen && self.repetition_penalty != 1.0 {
                let raised = *score * self.repetition_penalty;
                *score = if *score < 0.0 {
                    raised
                } else {
                    *score / self.repetition_penalty
                };
            }
            if self.temperature != 0.0 {
                *score /= self.temperature;
            }
            *score += 0.0; // -0 becomes 0
        }
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !best.is_finite() {
            return None;
        }
        let mut ranked = scores.clone();
        let last = self.top_k.clamp(1, ranked.len()) - 1;
        let last = *ranked.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1;
        let kept = (0..)
            .zip(scores)
            .filter(|(_, score)| *score >= last && *score > f32::NEG_INFINITY);
        let kept: Vec<(u32, f32)> = kept.collect();
        (kept.len() <= Self::MAX_CANDIDATES).then_some(kept)
    }
}
