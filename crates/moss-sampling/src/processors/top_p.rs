//! Top-p (nucleus sampling). Source: arXiv 1904.09751.

use crate::{
    SampleRequest,
    candidate::{Candidate, best_first},
};

/// Up to this many candidates are sorted.
const FEW: usize = 256;

// A device adds and draws in the order of the sort.
const _: () = assert!(SampleRequest::MAX_CANDIDATES <= FEW);

/// Classes of weight, 64 per factor of two; the last one has all weights below 2^-64.
const CLASSES: usize = 4096;

/// Top-p truncation, with its buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopP {
    /// Sum of the weights of each class.
    masses: Vec<f64>,
}

impl TopP {
    /// Keeps the smallest set of most likely candidates whose share of the total weight reaches
    /// `top_p`; at least one.
    ///
    /// Many candidates are summed by class of weight instead of sorted: only the class that
    /// contains the last kept candidate is sorted.
    pub(crate) fn keep(&mut self, candidates: &mut Vec<Candidate>, top_p: f32) {
        if top_p >= 1.0 {
            return; // rounding must not remove a token of very small weight
        }
        let top_p = f64::from(top_p);
        let (sure, mut mass, wanted) = if candidates.len() <= FEW {
            (
                0,
                0.0,
                top_p
                    * candidates
                        .iter()
                        .map(|candidate| candidate.weight)
                        .sum::<f64>(),
            )
        } else {
            self.truncate_by_class(candidates, top_p)
        };
        let doubtful = &mut candidates[sure..];
        doubtful.sort_unstable_by(best_first);
        let border = doubtful.iter().position(|candidate| {
            mass += candidate.weight;
            mass >= wanted
        });
        if let Some(border) = border {
            candidates.truncate(sure + border + 1);
        }
    }

    /// Removes the classes after that of the last kept candidate, and moves this class to the end.
    /// Returns the number of candidates in the classes before it, their weight, and the weight to
    /// reach.
    fn truncate_by_class(
        &mut self,
        candidates: &mut Vec<Candidate>,
        top_p: f64,
    ) -> (usize, f64, f64) {
        self.masses.clear();
        self.masses.resize(CLASSES, 0.0);
        for candidate in candidates.iter() {
            if let Some(mass) = self.masses.get_mut(class(candidate)) {
                *mass += candidate.weight;
            }
        }
        let wanted = top_p * self.masses.iter().sum::<f64>();
        let (mut border, mut before) = (0, 0.0);
        for mass in self.masses.iter().take(CLASSES - 1) {
            if before + mass >= wanted {
                break;
            }
            before += mass;
            border += 1;
        }
        candidates.retain(|candidate| class(candidate) <= border);
        let mut sure = 0;
        for at in 0..candidates.len() {
            if class(&candidates[at]) < border {
                candidates.swap(sure, at);
                sure += 1;
            }
        }
        (sure, before, wanted)
    }
}

/// Returns the class of a candidate's weight; class 0 has the largest weights, up to 1. The bits of
/// the exponent and the six bits below it increase with the value.
fn class(candidate: &Candidate) -> usize {
    let below_one = 1.0f64.to_bits().saturating_sub(candidate.weight.to_bits());
    ((below_one >> 46) as usize).min(CLASSES - 1)
}
