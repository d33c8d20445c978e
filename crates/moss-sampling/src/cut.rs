//! The part of the chain that a model can run where its logits lie, and what comes back of it.
//!
//! A row of MOSS's logits is 428 KB. Where it lies on another device, it need not travel: penalty,
//! temperature and top-k leave a few dozen candidates, and all that follows needs nothing else.

/// What is to be done to a row: repetition penalty, temperature, top-k, in this order, each
/// operation rounded to f32 as [`Sampler::sample`](crate::Sampler::sample) rounds it. A model that
/// runs it answers with [`CutParams::candidates`] of its row, bit by bit but in any order, or with
/// the whole row whenever it likes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutParams {
    /// Scores of tokens in the history are divided by this if positive and multiplied if negative;
    /// 1 for none.
    pub repetition_penalty: f32,
    /// Scores are divided by this after the penalty; 0 leaves them alone: the best token is wanted,
    /// `top_k` is 1.
    pub temperature: f32,
    /// The best `top_k` scores and all that tie with the last of them, 1 to
    /// [`CutParams::MAX_TOP_K`].
    pub top_k: usize,
}

impl CutParams {
    /// The largest `top_k` that is asked for: with some ties, an answer stays within
    /// [`CutParams::MAX_CANDIDATES`].
    pub const MAX_TOP_K: usize = 400;

    /// The most candidates of an answer: with a header of four of their size, 4 KB.
    pub const MAX_CANDIDATES: usize = 508;

    /// The candidates of a row as `(id, score)`, by ascending id: the plain definition, which every
    /// kernel is held against.
    ///
    /// `None` where candidates cannot say what the row does, and the whole row has to be looked at:
    /// a logit is NaN or `+inf`, the best score is not finite, or too many tie.
    pub fn candidates(
        &self,
        logits: &[f32],
        history: &[u32],
        allowed: usize,
    ) -> Option<Vec<(u32, f32)>> {
        let mut scores = logits[..allowed.min(logits.len())].to_vec();
        if scores
            .iter()
            .any(|score| score.is_nan() || *score == f32::INFINITY)
        {
            return None;
        }
        let mut seen = vec![false; scores.len()];
        for &id in history {
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
        (kept.len() <= Self::MAX_CANDIDATES).then_some(kept)
    }
}
