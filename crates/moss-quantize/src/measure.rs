//! Evaluation of a checkpoint: perplexity on a text, and agreement with another checkpoint.
//!
//! Long texts are evaluated in sliding windows, each `stride` tokens after the previous one. Tokens
//! that an earlier window predicted serve as context only. Every token therefore counts once, and
//! after the first window each has at least `window - stride` tokens of context.

use moss_model::{BlockPool, BlockTable, LanguageModel, LogitRows, SequenceChunk, TokenKind};

use crate::{QuantizeError, Sample, TextSet};

/// Tokens whose logits are in memory at a time: 55 MB with the published vocabulary.
const CHUNK: usize = 128;

/// Sliding windows over long texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Tokens of a window.
    pub window: usize,
    /// Tokens from the start of one window to the start of the next.
    pub stride: usize,
}

impl Windows {
    /// Returns windows of the context length that overlap by half.
    pub fn of(context_length: usize) -> Self {
        Self {
            window: context_length,
            stride: (context_length / 2).max(1),
        }
    }

    fn check(self, context_length: usize) -> Result<(), QuantizeError> {
        let Self { window, stride } = self;
        match (2..=context_length).contains(&window) && (1..=window / 2).contains(&stride) {
            true => Ok(()),
            false => Err(QuantizeError::Windows {
                window,
                stride,
                context_length,
            }),
        }
    }
}

/// A model's mean loss on a text.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Perplexity {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Mean of `-ln p`.
    pub mean_loss: f64,
}

impl Perplexity {
    /// Returns `exp(mean_loss)`.
    pub fn value(&self) -> f64 {
        self.mean_loss.exp()
    }
}

/// The agreement of a model with a reference model.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Positions compared.
    pub tokens: usize,
    /// Mean of `KL(reference || other)` in nats.
    pub mean_kl: f64,
    /// Fraction of positions whose most likely token is the same.
    pub top_1: f64,
    /// Perplexity of the reference on these texts.
    pub reference: Perplexity,
    /// Perplexity of the other model.
    pub other: Perplexity,
}

/// Computes the perplexity of `model` on the scored tokens of the texts.
///
/// # Errors
/// [`QuantizeError::Windows`]; [`QuantizeError::NoSamples`] without scored tokens;
/// [`QuantizeError::Model`].
pub fn perplexity(
    model: &mut dyn LanguageModel,
    samples: &[Sample],
    windows: Windows,
    interrupted: &dyn Fn() -> bool,
) -> Result<Perplexity, QuantizeError> {
    let mut loss = Mean::default();
    read(
        &mut [model],
        samples,
        windows,
        interrupted,
        &mut |rows, next| loss.add(loss_of(rows[0], next)),
    )?;
    loss.perplexity()
}

/// Computes the agreement of `other` with `reference` on the scored tokens of the texts.
///
/// # Errors
/// [`QuantizeError::Vocabularies`]; and as for [`perplexity`].
pub fn agreement(
    reference: &mut dyn LanguageModel,
    other: &mut dyn LanguageModel,
    samples: &[Sample],
    windows: Windows,
    interrupted: &dyn Fn() -> bool,
) -> Result<Agreement, QuantizeError> {
    let (first, second) = (reference.config().vocab_size, other.config().vocab_size);
    if first != second {
        return Err(QuantizeError::Vocabularies { first, second });
    }
    let (mut kl, mut same) = (Mean::default(), Mean::default());
    let (mut reference_loss, mut other_loss) = (Mean::default(), Mean::default());
    read(
        &mut [reference, other],
        samples,
        windows,
        interrupted,
        &mut |rows, next| {
            kl.add(divergence(rows[0], rows[1]));
            same.add(f64::from(best(rows[0]) == best(rows[1])));
            reference_loss.add(loss_of(rows[0], next));
            other_loss.add(loss_of(rows[1], next));
        },
    )?;
    Ok(Agreement {
        tokens: kl.count,
        reference: reference_loss.perplexity()?,
        other: other_loss.perplexity()?,
        mean_kl: kl.sum / kl.count as f64,
        top_1: same.sum / same.count as f64,
    })
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn perplexity(&self) -> Result<Perplexity, QuantizeError> {
        match self.count {
            0 => Err(QuantizeError::NoSamples {
                what: TextSet::Measured,
            }),
            tokens => Ok(Perplexity {
                tokens,
                mean_loss: self.sum / tokens as f64,
            }),
        }
    }
}

/// Calls `see` with every scored token and the logits of each model at the position before it.
fn read(
    models: &mut [&mut dyn LanguageModel],
    samples: &[Sample],
    windows: Windows,
    interrupted: &dyn Fn() -> bool,
    see: &mut dyn FnMut(&[&[f32]], u32),
) -> Result<(), QuantizeError> {
    let mut tables: Vec<BlockTable> = models.iter().map(|_| BlockTable::default()).collect();
    for (model, table) in models.iter().zip(&mut tables) {
        windows.check(model.config().context_length)?;
        BlockPool::new(model.cache_shape()).grow(table, windows.window)?;
    }
    let mut cached: &[u32] = &[]; // token ids in the KV caches
    for Sample { ids, scored } in samples {
        let (mut begin, mut predicted) = (0, 1);
        while predicted < ids.len() {
            let end = ids.len().min(begin + windows.window);
            // Row `at - 1` predicts token `at`. Rows after the last scored token are not computed.
            let counts = |row: &usize| *row + 1 >= predicted && scored[*row + 1];
            if let Some(last) = (begin..end - 1).rfind(counts) {
                // A system prompt that all dialogues share is processed once.
                let first = (begin..=last).find(counts).unwrap_or(begin);
                let same = ids[begin..first]
                    .iter()
                    .zip(cached)
                    .take_while(|(id, cached)| id == cached)
                    .count();
                for start in (begin + same..=last).step_by(CHUNK) {
                    let stop = (last + 1).min(start + CHUNK);
                    let wanted: Vec<usize> = (start..stop).filter(counts).collect();
                    let mut logits = Vec::with_capacity(models.len());
                    for (model, blocks) in models.iter_mut().zip(&tables) {
                        let chunk = SequenceChunk {
                            token_ids: &ids[start..stop],
                            kind: TokenKind::Prompt,
                            start_pos: start - begin,
                            blocks,
                            logits: if wanted.is_empty() {
                                LogitRows::None
                            } else {
                                LogitRows::All
                            },
                        };
                        logits.extend(model.forward(&[chunk], interrupted)?);
                    }
                    for row in wanted {
                        let rows: Vec<&[f32]> = logits
                            .iter()
                            .map(|logits| logits.row(row - start).unwrap_or_default())
                            .collect();
                        see(&rows, ids[row + 1]);
                    }
                }
                cached = &ids[begin..=last];
            }
            predicted = end;
            begin += windows.stride;
        }
    }
    Ok(())
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
    f64::from(max) + sum.ln()
}

/// Computes `-ln p(next)`.
fn loss_of(row: &[f32], next: u32) -> f64 {
    log_sum_exp(row)
        - row
            .get(next as usize)
            .map_or(f64::NEG_INFINITY, |value| f64::from(*value))
}

/// Computes `KL(softmax(reference) || softmax(other))` in nats.
fn divergence(reference: &[f32], other: &[f32]) -> f64 {
    let (sum, other_sum) = (log_sum_exp(reference), log_sum_exp(other));
    let term = |(a, b): (&f32, &f32)| {
        let (a, b) = (f64::from(*a) - sum, f64::from(*b) - other_sum);
        a.exp() * (a - b)
    };
    reference.iter().zip(other).map(term).sum()
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}
