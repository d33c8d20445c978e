//! A forward batch, checked before any work, and its micro-batches.

use std::ops::Range;

use moss_cpu::ops::SequenceRows;
use moss_sampling::{TopKCandidates, TopKRequest};

use crate::{BlockTable, CacheShape, LogitRows, Logits, ModelError, MossConfig, SequenceChunk};

/// Maximum tokens of a micro-batch.
pub(crate) const MAX_BATCH_TOKENS: usize = 512;

/// The tokens of one forward batch. [`Plan::new`] finds every invalid chunk before any work.
pub(crate) struct Plan<'a> {
    token_ids: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// First token and chunk of each sequence.
    spans: Vec<(usize, SequenceChunk<'a>)>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        config: &MossConfig,
        cache: CacheShape,
        batch: &[SequenceChunk<'a>],
    ) -> Result<Self, ModelError> {
        let mut plan = Self {
            token_ids: vec![],
            positions: vec![],
            slots: vec![],
            spans: vec![],
        };
        for (sequence, chunk) in batch.iter().enumerate() {
            let end = chunk.start_pos + chunk.token_ids.len();
            if chunk.token_ids.is_empty() {
                return Err(ModelError::EmptyChunk { sequence });
            }
            if end > config.context_length {
                return Err(ModelError::WindowFull {
                    end,
                    context_length: config.context_length,
                });
            }
            let blocks = chunk.blocks.blocks();
            let expected = end.div_ceil(cache.block_size);
            if blocks.len() < expected {
                return Err(ModelError::BlocksMissing {
                    sequence,
                    found: blocks.len(),
                    expected,
                });
            }
            if let Some(&id) = chunk
                .token_ids
                .iter()
                .find(|id| **id as usize >= config.vocab_size)
            {
                return Err(ModelError::UnknownToken {
                    id,
                    vocab_size: config.vocab_size,
                });
            }
            plan.spans.push((plan.token_ids.len(), *chunk));
            plan.token_ids.extend_from_slice(chunk.token_ids);
            for position in chunk.start_pos..end {
                let block = blocks[position / cache.block_size] as usize;
                plan.positions.push(position as u32);
                plan.slots
                    .push((block * cache.block_size + position % cache.block_size) as u32);
            }
        }
        Ok(plan)
    }

    /// Splits the tokens into micro-batches of at most [`MAX_BATCH_TOKENS`]. The split is independent
    /// of the stages.
    pub(crate) fn micro_batches(&self) -> impl Iterator<Item = MicroBatch<'_, 'a>> {
        let rows = self.token_ids.len();
        (0..rows)
            .step_by(MAX_BATCH_TOKENS)
            .enumerate()
            .map(move |(index, first)| {
                MicroBatch::new(self, index, first..rows.min(first + MAX_BATCH_TOKENS))
            })
    }

    /// Returns the error for a non-finite value of token `row`.
    fn non_finite(&self, layer: usize, row: usize, value: f32) -> ModelError {
        let sequence = self
            .spans
            .iter()
            .rposition(|(first_row, _)| *first_row <= row)
            .unwrap_or(0);
        let position = self
            .positions
            .get(row)
            .map_or(0, |position| *position as usize);
        ModelError::NonFinite {
            layer,
            sequence,
            position,
            value,
        }
    }

    /// Splits `output`, the results of all wanted tokens, by chunks.
    pub(crate) fn split_by_sequence(&self, output: BatchOutput, vocab_size: usize) -> Vec<Logits> {
        let (mut rest, mut top_k) = (output.logits, output.top_k.into_iter());
        let mut take = |(_, chunk): &(usize, SequenceChunk<'_>)| {
            let rows = rows_of(chunk);
            if let Some(Some(candidates)) = top_k.by_ref().take(rows).last() {
                return Logits::from_top_k(candidates, vocab_size);
            }
            let tail = rest.split_off((rows * vocab_size).min(rest.len()));
            Logits::new(std::mem::replace(&mut rest, tail), vocab_size)
        };
        self.spans.iter().map(&mut take).collect()
    }
}

/// Consecutive tokens of a plan that pass through the layers together.
pub(crate) struct MicroBatch<'p, 'a> {
    plan: &'p Plan<'a>,
    /// Index within the forward batch.
    pub(crate) index: usize,
    /// Tokens of the plan.
    pub(crate) rows: Range<usize>,
    /// The tokens of each sequence, relative to the micro-batch.
    pub(crate) sequences: Vec<SequenceRows<'a>>,
    /// Tokens that pass through lm_head, relative to the micro-batch, in order.
    pub(crate) wanted: Vec<u32>,
    /// The top-k request of each wanted token, if any; the CPU returns all logits.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) top_k: Vec<Option<TopKRequest<'a>>>,
}

impl<'p, 'a> MicroBatch<'p, 'a> {
    fn new(plan: &'p Plan<'a>, index: usize, rows: Range<usize>) -> Self {
        let (mut sequences, mut wanted, mut top_k) = (vec![], vec![], vec![]);
        for (first_row, chunk) in &plan.spans {
            let end = first_row + chunk.token_ids.len();
            let overlap = rows.start.max(*first_row)..rows.end.min(end);
            if overlap.is_empty() {
                continue;
            }
            sequences.push(SequenceRows {
                first_row: overlap.start - rows.start,
                num_rows: overlap.len(),
                start_pos: chunk.start_pos + overlap.start - first_row,
                blocks: BlockTable::blocks(chunk.blocks),
            });
            let request = if let LogitRows::TopK(request) = chunk.logits {
                Some(request)
            } else {
                None
            };
            for row in overlap.start.max(end - rows_of(chunk))..overlap.end {
                wanted.push((row - rows.start) as u32);
                top_k.push(request);
            }
        }
        Self {
            plan,
            index,
            rows,
            sequences,
            wanted,
            top_k,
        }
    }

    /// Returns the number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn token_ids(&self) -> &[u32] {
        &self.plan.token_ids[self.rows.clone()]
    }

    pub(crate) fn positions(&self) -> &[u32] {
        &self.plan.positions[self.rows.clone()]
    }

    pub(crate) fn slots(&self) -> &[u32] {
        &self.plan.slots[self.rows.clone()]
    }

    /// Returns the error for a non-finite value of token `row` of the micro-batch.
    pub(crate) fn non_finite(&self, layer: usize, row: usize, value: f32) -> ModelError {
        self.plan.non_finite(layer, self.rows.start + row, value)
    }
}

/// Results of lm_head for the wanted tokens, in order.
#[derive(Debug, Default)]
pub(crate) struct BatchOutput {
    /// The logits of tokens without candidates.
    pub(crate) logits: Vec<f32>,
    /// The candidates of each token, or `None` if its logits are in `logits`.
    pub(crate) top_k: Vec<Option<TopKCandidates>>,
}

impl BatchOutput {
    /// Appends the logits of `rows` tokens.
    pub(crate) fn extend(&mut self, rows: usize, logits: Vec<f32>) {
        if self.logits.is_empty() {
            self.logits = logits;
        } else {
            self.logits.extend(logits);
        }
        self.top_k.extend((0..rows).map(|_| None));
    }
}

/// Returns the number of tokens of a chunk that pass through lm_head.
fn rows_of(chunk: &SequenceChunk<'_>) -> usize {
    match chunk.logits {
        LogitRows::None => 0,
        LogitRows::Last | LogitRows::TopK(_) => 1,
        LogitRows::All => chunk.token_ids.len(),
    }
}
