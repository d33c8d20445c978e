//! Device-side top-k: the part of the sampling chain that a model may compute on its device.
//!
//! MOSS's logits for a token are 428 KB. A GPU need not copy them to the host: repetition penalty,
//! temperature and top-k leave a few dozen candidates, and later processors need only those.

/// Repetition penalty, temperature and top-k for the logits of one token, in this order.
///
/// The score of an id is its logit. If the id is in `history`, the logit is multiplied by
/// `repetition_penalty` if it is negative, and divided by it otherwise. The result is divided by
/// `temperature`, unless that is 0. Each operation is one f32 operation. Candidates are the ids
/// below `allowed` whose score is at least the `top_k`-th largest of them, ties included, except
/// for scores of `-inf`.
///
/// A model returns either the result of [`TopKRequest::select`], bit-identical but in any order, or
/// all logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopKRequest<'a> {
    /// Prompt and reply so far. An id may occur more than once, and may have no logit.
    pub history: &'a [u32],
    /// Above 0; 1 for no penalty.
    pub repetition_penalty: f32,
    /// 0 or more. 0 is greedy decoding: scores are not divided, and `top_k` is 1.
    pub temperature: f32,
    /// 1 to [`TopKRequest::MAX_TOP_K`].
    pub top_k: usize,
    /// Ids below this may be sampled. It may exceed the number of logits.
    pub allowed: usize,
}

/// Candidates as `(id, score)`, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct TopKCandidates(pub Vec<(u32, f32)>);

impl TopKRequest<'_> {
    /// The largest `top_k` that is requested: with some ties, the candidates stay within
    /// [`TopKRequest::MAX_CANDIDATES`].
    pub const MAX_TOP_K: usize = 400;

    /// The most candidates: with a header of the size of four, they take 4 KB.
    pub const MAX_CANDIDATES: usize = 508;

    /// Selects the candidates, by ascending id. This is the reference that kernels are compared
    /// with.
    ///
    /// Returns `None` if the whole row is needed: a logit is NaN or `+inf`, the best score is not
    /// finite, or too many scores tie.
    pub fn select(&self, logits: &[f32]) -> Option<TopKCandidates> {
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
        }
        let mut ranked = scores.clone();
        ranked.sort_unstable_by(|a, b| b.total_cmp(a));
        ranked.first().filter(|best| best.is_finite())?;
        let last = *ranked.get(self.top_k.clamp(1, ranked.len()) - 1)?;
        let kept = (0..)
            .zip(scores)
            .filter(|(_, score)| *score >= last && *score > f32::NEG_INFINITY);
        let kept: Vec<(u32, f32)> = kept.collect();
        (kept.len() <= Self::MAX_CANDIDATES).then_some(TopKCandidates(kept))
    }
}
