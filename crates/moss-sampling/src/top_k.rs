//! Top-k selection where the logits are: the part of the sampling chain that a model may run on its
//! own device.
//!
//! A row of MOSS's logits is 428 KB. If it is in the memory of another device, it need not be
//! copied: penalty, temperature and top-k leave a few dozen candidates, and all later steps need
//! nothing else.

/// Repetition penalty, temperature and top-k for one row of logits, in this order.
///
/// Score by score, in f32, each operation rounded once: the logit; of an id in `history`, times
/// `repetition_penalty` if it is below 0 and divided by it otherwise; divided by `temperature`
/// unless that is 0. Candidates are the ids below `allowed` whose score is at least the `top_k`-th
/// largest of them, ties included, except for scores of `-inf`.
///
/// A model that runs the request returns [`TopKRequest::select`] of its row, bit by bit but in any
/// order, or the whole row whenever it likes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopKRequest<'a> {
    /// Prompt and answer so far. An id may occur often, and may have no logit.
    pub history: &'a [u32],
    /// Above 0; 1 changes nothing.
    pub repetition_penalty: f32,
    /// 0 or more. At 0 the scores are left alone: the best token is wanted, and `top_k` is 1.
    pub temperature: f32,
    /// 1 to [`TopKRequest::MAX_TOP_K`].
    pub top_k: usize,
    /// Ids below this may be drawn; may be larger than the row.
    pub allowed: usize,
}

/// The candidates of a row as `(id, score)`, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct TopKCandidates(pub Vec<(u32, f32)>);

impl TopKRequest<'_> {
    /// The largest `top_k` that is requested: with some ties, the candidates stay within
    /// [`TopKRequest::MAX_CANDIDATES`].
    pub const MAX_TOP_K: usize = 400;

    /// The most candidates of a row: with a header of four of their size, 4 KB.
    pub const MAX_CANDIDATES: usize = 508;

    /// Selects the candidates of a row, by ascending id: the reference definition, which every
    /// kernel is compared with.
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
