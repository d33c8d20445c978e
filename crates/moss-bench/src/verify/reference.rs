//! Comparison of two implementations of a model on the same weights.

use moss_model::{BlockPool, BlockTable, LanguageModel, LogitRows, SequenceChunk, TokenKind};

use super::{Check, CheckKind, Outcome, difference};
use crate::BenchError;

/// Settings of the comparison.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// Allowed difference of a logit.
    pub tolerance: f32,
    /// Decode steps after each prompt, along the greedy path of the first model.
    pub steps: usize,
}

/// Compares the logits of `model` with those of `reference` at every position of the prompts and of
/// the steps behind them, and passes each result to `each`. The most likely tokens may differ where
/// `reference` separates them by less than the tolerance.
///
/// # Errors
/// [`BenchError::Model`] for errors of the models.
pub fn compare(
    model: &mut dyn LanguageModel,
    reference: &mut dyn LanguageModel,
    prompts: &[Vec<u32>],
    options: CompareOptions,
    each: &mut dyn FnMut(Check),
) -> Result<(), BenchError> {
    let (vocab, tolerance) = (model.config().vocab_size, options.tolerance);
    let (mut largest, mut mismatches, mut positions) = (0f32, 0, 0);
    for prompt in prompts {
        let end = prompt.len() + options.steps;
        let mut model = Sequence::new(model, end)?;
        let mut reference = Sequence::new(reference, end)?;
        let (mut ids, mut kind) = (prompt.clone(), TokenKind::Prompt);
        for _ in 0..=options.steps {
            let (found, expected) = (model.run(&ids, kind)?, reference.run(&ids, kind)?);
            largest = largest.max(difference(&found, &expected));
            let mut last = 0;
            for (row, expected) in found.chunks(vocab).zip(expected.chunks(vocab)) {
                last = best(row);
                let margin = expected[best(expected)] - expected[last];
                mismatches += usize::from(margin > tolerance);
                positions += 1;
            }
            (ids, kind) = (vec![last as u32], TokenKind::Generated);
        }
    }
    each(Check {
        kind: CheckKind::Logits,
        outcome: Outcome::Difference {
            largest,
            allowed: tolerance,
        },
    });
    each(Check {
        kind: CheckKind::TopToken,
        outcome: Outcome::Mismatches {
            count: mismatches,
            total: positions,
        },
    });
    Ok(())
}

/// A model with the cache of one sequence.
struct Sequence<'a> {
    model: &'a mut dyn LanguageModel,
    blocks: BlockTable,
    positions: usize,
}

impl<'a> Sequence<'a> {
    fn new(model: &'a mut dyn LanguageModel, positions: usize) -> Result<Self, BenchError> {
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape()).grow(&mut blocks, positions)?;
        Ok(Self {
            model,
            blocks,
            positions: 0,
        })
    }

    /// Runs the next tokens and returns the logits of all of them.
    fn run(&mut self, token_ids: &[u32], kind: TokenKind) -> Result<Vec<f32>, BenchError> {
        let chunk = SequenceChunk {
            token_ids,
            kind,
            start_pos: self.positions,
            blocks: &self.blocks,
            logits: LogitRows::All,
        };
        self.positions += token_ids.len();
        let logits = self.model.forward(&[chunk], &|| false)?;
        Ok(logits
            .into_iter()
            .flat_map(|logits| logits.into_values())
            .collect())
    }
}

fn best(row: &[f32]) -> usize {
    (0..row.len())
        .max_by(|a, b| row[*a].total_cmp(&row[*b]))
        .unwrap_or(0)
}
