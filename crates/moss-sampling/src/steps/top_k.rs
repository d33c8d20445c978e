//! The best `k` scores and all that tie with the last of them, without sorting the vocabulary.

use crate::{candidate::Candidate, logits::largest};

/// Scores whose maximum is taken together.
const RUN: usize = 64;

/// The selection, with its scratch space.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopK {
    /// Maximum of each run, in the row's order.
    maxima: Vec<f32>,
    /// Maxima or scores, as selection reorders them.
    ranked: Vec<f32>,
}

impl TopK {
    /// Collects into `found` by ascending id. `k` = 0 is all of them; `-inf` is never collected.
    /// `scores` hold no NaN.
    ///
    /// The `k`-th largest maximum of the runs is a bound that at least `k` scores reach, and few
    /// more: one pass over the vocabulary and a look into the runs that hold something, then exact
    /// work on what is left.
    pub(crate) fn select(&mut self, scores: &[f32], k: usize, found: &mut Vec<Candidate>) {
        found.clear();
        let bound = self.bound(scores, k);
        for (run, (scores, best)) in scores.chunks(RUN).zip(&self.maxima).enumerate() {
            if *best >= bound {
                let reaching = scores
                    .iter()
                    .enumerate()
                    .filter(|(_, score)| **score >= bound);
                found.extend(reaching.map(|(at, score)| Candidate::new(run * RUN + at, *score)));
            }
        }
        if k > 0 && k < found.len() {
            self.ranked.clear();
            self.ranked
                .extend(found.iter().map(|candidate| candidate.score));
            let last = kth_largest(&mut self.ranked, k);
            found.retain(|candidate| candidate.score >= last);
        }
    }

    /// A finite score that at least `k` scores reach, or all finite ones if there are not so many.
    fn bound(&mut self, scores: &[f32], k: usize) -> f32 {
        self.maxima.clear();
        self.maxima.extend(scores.chunks(RUN).map(largest));
        if k == 0 || k >= self.maxima.len() {
            return f32::MIN;
        }
        self.ranked.clone_from(&self.maxima);
        kth_largest(&mut self.ranked, k).max(f32::MIN)
    }
}

/// `k` is 1 to their number. Zeros of either sign rank side by side, and compare equal.
fn kth_largest(scores: &mut [f32], k: usize) -> f32 {
    *scores
        .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
        .1
}
