//! The best `k` logits and all that tie with the last of them, without sorting the vocabulary.

/// Logits whose maximum is taken together.
const RUN: usize = 64;

/// A token and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    pub(crate) score: f32,
}

/// Collects into `found`, best first, higher ids first among equals (transformers sorts upwards and cuts from below). `-inf` is
/// never collected.
///
/// The `k`-th largest maximum of runs of 64 is a bound that at least `k` logits reach, and few more: two passes over the
/// vocabulary, then exact work on what is left.
pub(crate) fn select(logits: &[f32], k: usize, maxima: &mut Vec<f32>, found: &mut Vec<Candidate>) {
    found.clear();
    maxima.clear();
    maxima.extend(logits.chunks(RUN).map(|run| run.iter().copied().fold(f32::NEG_INFINITY, f32::max)));
    let bound = if k < maxima.len() {
        *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    } else {
        f32::NEG_INFINITY
    };
    for (run, logits) in logits.chunks(RUN).enumerate() {
        // Most runs hold nothing: one test for all of them.
        if logits.iter().any(|score| *score >= bound) {
            let reaching = logits
                .iter()
                .enumerate()
                .filter(|(_, score)| **score >= bound && **score > f32::NEG_INFINITY);
            found
                .extend(reaching.map(|(at, score)| Candidate { id: (run * RUN + at) as u32, score: *score }));
        }
    }
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(b.id.cmp(&a.id)));
    if let Some(last) = found.get(k.saturating_sub(1)).map(|candidate| candidate.score) {
        let kept = found.partition_point(|candidate| candidate.score >= last);
        found.truncate(kept);
    }
}
