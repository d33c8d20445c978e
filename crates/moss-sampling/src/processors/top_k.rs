//! Top-k: the `k` largest scores and all that tie with the last one, without sorting the
//! vocabulary.

use crate::{candidate::Candidate, logits::largest};

/// Scores per run. Runs without a large score are skipped.
const RUN: usize = 64;

/// Top-k selection, with its buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopK {
    /// Maximum of each run.
    maxima: Vec<f32>,
    /// Maxima or scores, reordered by a selection.
    ranked: Vec<f32>,
}

impl TopK {
    /// Collects candidates into `found` by ascending id. `k` = 0 selects all scores; `-inf` is
    /// never selected. `scores` have no NaN.
    ///
    /// The `k`-th largest maximum of the runs is a bound that at least `k` scores reach, and few
    /// more. After one pass over the vocabulary, only runs that reach the bound are searched, and
    /// the exact selection has few candidates.
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

    /// Returns a finite score that at least `k` scores reach, or all finite ones if there are fewer
    /// than `k`.
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

/// Returns the `k`-th largest score; `k` is 1 to their number. `total_cmp` ranks -0 next to 0, and
/// both compare equal.
fn kth_largest(scores: &mut [f32], k: usize) -> f32 {
    *scores
        .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
        .1
}
