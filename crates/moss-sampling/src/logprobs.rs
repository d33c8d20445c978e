//! Log-probabilities of the model's logits, before any logits processor.

/// Natural logarithms of the softmax over the ids that may be sampled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logprobs {
    row: Vec<f32>,
    log_total: f64,
}

impl Logprobs {
    /// Computes log-probabilities; ids from `allowed` on have a probability of 0.
    pub fn of(logits: &[f32], allowed: usize) -> Self {
        let row = logits[..allowed.min(logits.len())].to_vec();
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|logit| f64::from(logit - best).exp()).sum();
        Self {
            row,
            log_total: f64::from(best) + total.ln(),
        }
    }

    /// Returns the log-probability of `id`; `-inf` for an id that cannot be sampled.
    pub fn get(&self, id: u32) -> f32 {
        self.row
            .get(id as usize)
            .map_or(f32::NEG_INFINITY, |logit| {
                (f64::from(*logit) - self.log_total) as f32
            })
    }

    /// Returns the `count` most likely ids in descending order, and equal ones by ascending id.
    pub fn top(&self, count: usize) -> Vec<(u32, f32)> {
        let mut ids: Vec<u32> = (0..self.row.len() as u32).collect();
        let count = count.min(ids.len());
        let better = |a: &u32, b: &u32| {
            self.row[*b as usize]
                .total_cmp(&self.row[*a as usize])
                .then(a.cmp(b))
        };
        if count > 0 && count < ids.len() {
            ids.select_nth_unstable_by(count - 1, better);
        }
        ids.truncate(count);
        ids.sort_unstable_by(better);
        ids.into_iter().map(|id| (id, self.get(id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_the_allowed_ids_sum_to_one_and_come_in_order() {
        let logprobs = Logprobs::of(&[1.0, 3.0, 3.0, -2.0, 99.0], 4);
        let sum: f32 = (0..4).map(|id| logprobs.get(id).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(logprobs.get(4), f32::NEG_INFINITY);
        assert_eq!(
            logprobs
                .top(3)
                .iter()
                .map(|(id, _)| *id)
                .collect::<Vec<_>>(),
            [1, 2, 0]
        );
        assert_eq!(logprobs.top(9).len(), 4);
        assert!(logprobs.top(0).is_empty());
    }
}
