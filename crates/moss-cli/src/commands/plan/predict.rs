//! How fast a plan could be: from bytes and operations, before anything has run.

use moss::model::{
    MossConfig,
    placement::{Placement, Stage},
};

use super::{cards::PlannedCard, subject::Subject};

/// Tokens of the prompt whose time is predicted.
pub(super) const PROMPT: usize = 512;

/// Parts of the tensor cores' peak that prompts of 512 tokens reach on an H100: 15.9 x 10^12
/// operations in 29 ms (fp16) and 58 ms (int8, int4), as the README's table has it, of 989 x 10^12
/// a second.
const DENSE_SHARE: f64 = 0.55;
const PACKED_SHARE: f64 = 0.27;

/// What a plan gives at best.
pub(super) struct Prediction {
    /// Tokens a second, one at a time, with an empty cache.
    pub(super) rate_empty: f64,
    /// The same with a full one.
    pub(super) rate_full: f64,
    /// Tokens of the prompt.
    pub(super) prompt: usize,
    /// Part of the tensor cores' peak that is counted on.
    pub(super) share: f64,
    /// Seconds to the first token; `None` where a stage's arithmetic is not known.
    pub(super) first_token: Option<f64>,
}

impl Prediction {
    pub(super) fn of(placement: &Placement, cards: &[PlannedCard], subject: &Subject) -> Self {
        let bare: Vec<_> = cards.iter().map(|planned| planned.card.clone()).collect();
        let prompt = PROMPT.min(subject.cache.positions());
        let share = if subject.is_packed {
            PACKED_SHARE
        } else {
            DENSE_SHARE
        };
        // Its weights have to be read once, too, however few the operations.
        let prefill = |stage: &Stage| {
            let PlannedCard { card, tensor_flops } = cards.get(stage.card)?;
            let arithmetic =
                stage_flops(stage, &subject.config, prompt) / ((*tensor_flops)? * share);
            Some(arithmetic.max(stage.token_seconds(card, 0.0)))
        };
        Self {
            rate_empty: 1.0 / placement.token_seconds(&bare, 0.0),
            rate_full: 1.0 / placement.token_seconds(&bare, 1.0),
            prompt,
            share,
            first_token: placement.stages.iter().map(prefill).sum(),
        }
    }
}

/// Returns the operations of a prompt in a stage. The head runs for one token.
fn stage_flops(stage: &Stage, config: &MossConfig, prompt: usize) -> f64 {
    let head = if stage.has_head {
        2.0 * config.vocab_size as f64 * config.hidden_size as f64
    } else {
        0.0
    };
    config.block().matmul_flops(prompt) * stage.layers.len() as f64 + head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_takes_two_operations_for_each_weight_and_token() {
        let stage = Stage {
            card: 0,
            layers: 0..34,
            has_embedding: true,
            has_head: true,
            weights: 0,
            embedding: 0,
            cache: 0,
            workspace: 0,
            free_after: 0,
        };
        let flops = stage_flops(&stage, &MossConfig::moon_003(), 512);
        // 16.7e9 parameters less the embedding's and the head's 0.66e9 each.
        let expected = 2.0 * (16.718e9 - 2.0 * 0.6575e9) * 512.0;
        assert!((flops / expected - 1.0).abs() < 0.01, "{flops} {expected}");
    }
}
