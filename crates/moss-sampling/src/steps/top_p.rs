//! Nucleus sampling. Source: arXiv 1904.09751.

use crate::candidate::{Candidate, best_first};

/// This many candidates are simply sorted.
const FEW: usize = 256;

/// Classes of weight, 64 to a factor of two; all below 2^-64 share the last one.
const CLASSES: usize = 4096;

/// The filter, with its scratch space.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopP {
    /// Sum of the weights of each class.
    masses: Vec<f64>,
}

impl TopP {
    /// Keeps the smallest set of best candidates whose share of the mass reaches `top_p`; at least
    /// one.
    ///
    /// Many candidates are not sorted but summed by class of weight: only the class in which the
    /// border lies needs an order.
    pub(crate) fn keep(&mut self, candidates: &mut Vec<Candidate>, top_p: f32) {
        if top_p >= 1.0 {
            return; // rounding must not drop a token of next to no mass
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
            self.cut_by_class(candidates, top_p)
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

    /// Drops the classes beyond the border's and puts the border's own class last. Returns how many
    /// candidates stand before it, their mass, and the mass that is wanted.
    fn cut_by_class(&mut self, candidates: &mut Vec<Candidate>, top_p: f64) -> (usize, f64, f64) {
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

/// Class of a candidate's weight, the largest weights (1 at most) first. Of a float's bits, those
/// of the exponent and the six below rise with its value.
fn class(candidate: &Candidate) -> usize {
    let below_one = 1.0f64.to_bits().saturating_sub(candidate.weight.to_bits());
    ((below_one >> 46) as usize).min(CLASSES - 1)
}
