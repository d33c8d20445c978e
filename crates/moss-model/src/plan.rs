//! The rows of one forward pass, checked before any work.

use moss_kernels::ops::SequenceRows;

use crate::{BlockTable, CacheShape, LogitRows, Logits, ModelError, MossConfig, SequenceChunk};

/// The rows of one forward pass: everything that can be wrong with a batch is found here, before any work.
pub(crate) struct Plan<'a> {
    pub(crate) token_ids: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) slots: Vec<u32>,
    /// First row and chunk of each sequence.
    pub(crate) spans: Vec<(usize, SequenceChunk<'a>)>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        config: &MossConfig,
        cache: CacheShape,
        batch: &[SequenceChunk<'a>],
    ) -> Result<Self, ModelError> {
        let mut plan = Self { token_ids: vec![], positions: vec![], slots: vec![], spans: vec![] };
        for (sequence, chunk) in batch.iter().enumerate() {
            let end = chunk.start_pos + chunk.token_ids.len();
            if chunk.token_ids.is_empty() {
                return Err(ModelError::EmptyChunk { sequence });
            }
            if end > config.context_length {
                return Err(ModelError::WindowFull { end, context_length: config.context_length });
            }
            let blocks = chunk.blocks.blocks();
            let expected = end.div_ceil(cache.block_size);
            if blocks.len() < expected {
                return Err(ModelError::BlocksMissing { sequence, found: blocks.len(), expected });
            }
            if let Some(&id) = chunk.token_ids.iter().find(|id| **id as usize >= config.vocab_size) {
                return Err(ModelError::UnknownToken { id, vocab_size: config.vocab_size });
            }
            plan.spans.push((plan.token_ids.len(), *chunk));
            plan.token_ids.extend_from_slice(chunk.token_ids);
            for position in chunk.start_pos..end {
                let block = blocks[position / cache.block_size] as usize;
                plan.positions.push(position as u32);
                plan.slots.push((block * cache.block_size + position % cache.block_size) as u32);
            }
        }
        Ok(plan)
    }

    pub(crate) fn sequences(&self) -> Vec<SequenceRows<'a>> {
        let rows = |(first_row, chunk): &(usize, SequenceChunk<'a>)| SequenceRows {
            first_row: *first_row,
            num_rows: chunk.token_ids.len(),
            start_pos: chunk.start_pos,
            blocks: BlockTable::blocks(chunk.blocks),
        };
        self.spans.iter().map(rows).collect()
    }

    pub(crate) fn all_rows(&self) -> Vec<u32> {
        (0..self.positions.len() as u32).collect()
    }

    /// Rows that go through the head, in the order of the batch.
    pub(crate) fn logit_rows(&self) -> Vec<u32> {
        let rows = |(first_row, chunk): &(usize, SequenceChunk<'_>)| {
            let end = first_row + chunk.token_ids.len();
            (end - rows_of(chunk)..end).map(|row| row as u32)
        };
        self.spans.iter().flat_map(rows).collect()
    }

    /// The error for a bad value in `row`.
    pub(crate) fn non_finite(&self, layer: usize, row: usize, value: f32) -> ModelError {
        let sequence = self.spans.iter().rposition(|(first_row, _)| *first_row <= row).unwrap_or(0);
        let position = self.positions.get(row).map_or(0, |position| *position as usize);
        ModelError::NonFinite { layer, sequence, position, value }
    }

    /// Shares `values`, the logits of [`Plan::logit_rows`], out among the chunks.
    pub(crate) fn share_out(&self, values: Vec<f32>, vocab_size: usize) -> Vec<Logits> {
        let mut rest = values;
        let mut take = |(_, chunk): &(usize, SequenceChunk<'_>)| {
            let tail = rest.split_off((rows_of(chunk) * vocab_size).min(rest.len()));
            Logits::new(std::mem::replace(&mut rest, tail), vocab_size)
        };
        self.spans.iter().map(&mut take).collect()
    }
}

/// Rows of a chunk that go through the head.
pub(crate) fn rows_of(chunk: &SequenceChunk<'_>) -> usize {
    match chunk.logits {
        LogitRows::None => 0,
        LogitRows::Last | LogitRows::Cut(_) => 1, // on the host a whole row is as near as its best
        LogitRows::All => chunk.token_ids.len(),
    }
}
