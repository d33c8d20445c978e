//! The rows of one forward pass, checked before any work.

use std::ops::Range;

use moss_cpu::ops::SequenceRows;

use crate::{
    BlockTable, CacheShape, Cut, LogitRows, Logits, ModelError, MossConfig, SequenceChunk,
};

/// Rows of a pass at most.
pub(crate) const MAX_ROWS: usize = 512;

/// The rows of one forward pass: everything that can be wrong with a batch is found here, before
/// any work.
pub(crate) struct Plan<'a> {
    token_ids: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// First row and chunk of each sequence.
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

    /// The rows in runs of at most [`MAX_ROWS`]. How a prompt is cut up depends on the plan alone,
    /// never on where the layers lie.
    pub(crate) fn passes(&self) -> impl Iterator<Item = Pass<'_, 'a>> {
        let rows = self.token_ids.len();
        (0..rows)
            .step_by(MAX_ROWS)
            .map(move |first| Pass::new(self, first..rows.min(first + MAX_ROWS)))
    }

    /// The error for a bad value in `row`.
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

    /// Shares `answers`, one for every wanted row of every pass, out among the chunks.
    pub(crate) fn share_out(&self, answers: Answers, vocab_size: usize) -> Vec<Logits> {
        let (mut rest, mut cuts) = (answers.values, answers.cuts.into_iter());
        let mut take = |(_, chunk): &(usize, SequenceChunk<'_>)| {
            let rows = rows_of(chunk);
            if let Some(Some(candidates)) = cuts.by_ref().take(rows).last() {
                return Logits::from_cut(candidates, vocab_size);
            }
            let tail = rest.split_off((rows * vocab_size).min(rest.len()));
            Logits::new(std::mem::replace(&mut rest, tail), vocab_size)
        };
        self.spans.iter().map(&mut take).collect()
    }
}

/// A run of a plan's rows that goes through the layers together.
pub(crate) struct Pass<'p, 'a> {
    plan: &'p Plan<'a>,
    /// Of the plan.
    pub(crate) rows: Range<usize>,
    /// The rows of each sequence, counted from the pass's first.
    pub(crate) sequences: Vec<SequenceRows<'a>>,
    /// Rows that go through the head, counted likewise, in the order of the batch.
    pub(crate) wanted: Vec<u32>,
    /// What may come back in place of each wanted row; on the host a whole row is as near.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) cuts: Vec<Option<Cut<'a>>>,
}

impl<'p, 'a> Pass<'p, 'a> {
    fn new(plan: &'p Plan<'a>, rows: Range<usize>) -> Self {
        let (mut sequences, mut wanted, mut cuts) = (vec![], vec![], vec![]);
        for (first_row, chunk) in &plan.spans {
            let end = first_row + chunk.token_ids.len();
            let own = rows.start.max(*first_row)..rows.end.min(end);
            if own.is_empty() {
                continue;
            }
            sequences.push(SequenceRows {
                first_row: own.start - rows.start,
                num_rows: own.len(),
                start_pos: chunk.start_pos + own.start - first_row,
                blocks: BlockTable::blocks(chunk.blocks),
            });
            let cut = if let LogitRows::Cut(cut) = chunk.logits {
                Some(cut)
            } else {
                None
            };
            for row in own.start.max(end - rows_of(chunk))..own.end {
                wanted.push((row - rows.start) as u32);
                cuts.push(cut);
            }
        }
        Self {
            plan,
            rows,
            sequences,
            wanted,
            cuts,
        }
    }

    /// Rows.
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

    /// The error for a bad value in `row` of the pass.
    pub(crate) fn non_finite(&self, layer: usize, row: usize, value: f32) -> ModelError {
        self.plan.non_finite(layer, self.rows.start + row, value)
    }
}

/// What the head said of the wanted rows, in their order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The logits of the rows that were not cut.
    pub(crate) values: Vec<f32>,
    /// A row's candidates, or `None` where its logits are in `values`.
    pub(crate) cuts: Vec<Option<Vec<(u32, f32)>>>,
}

impl Answers {
    /// Adds the logits of `rows` rows.
    pub(crate) fn extend(&mut self, rows: usize, values: Vec<f32>) {
        match self.values.is_empty() {
            true => self.values = values,
            false => self.values.extend(values),
        }
        self.cuts.extend((0..rows).map(|_| None));
    }
}

/// Rows of a chunk that go through the head.
fn rows_of(chunk: &SequenceChunk<'_>) -> usize {
    match chunk.logits {
        LogitRows::None => 0,
        LogitRows::Last | LogitRows::Cut(_) => 1,
        LogitRows::All => chunk.token_ids.len(),
    }
}
