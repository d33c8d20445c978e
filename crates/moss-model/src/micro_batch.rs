//! A forward batch, checked before any work, and its micro-batches.

use std::ops::Range;

use moss_cpu::ops::SequenceRows;
use moss_sampling::SampleRequest;

use crate::{BlockTable, CacheShape, Logits, ModelError, MossConfig, SequenceChunk, TokenKind};

/// Maximum tokens of a micro-batch.
pub(crate) const MAX_BATCH_TOKENS: usize = 512;

/// The tokens of one forward batch: generated tokens first, then prompt tokens, each in the order of
/// the request's chunks. [`Plan::new`] finds every invalid chunk before any work.
pub(crate) struct Plan<'a> {
    token_ids: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// The chunks, in the order of their tokens.
    spans: Vec<Span<'a>>,
    /// Number of generated tokens.
    generated: usize,
    /// Most generated tokens of a micro-batch.
    decode_rows: usize,
}

/// The tokens of one chunk in a [`Plan`].
struct Span<'a> {
    first_row: usize,
    /// Index of the chunk in the request.
    sequence: usize,
    chunk: SequenceChunk<'a>,
}

impl<'a> Plan<'a> {
    /// Returns the plan of `batch`, with at most `decode_rows` generated tokens per micro-batch.
    pub(crate) fn new(
        config: &MossConfig,
        cache: CacheShape,
        decode_rows: usize,
        batch: &[SequenceChunk<'a>],
    ) -> Result<Self, ModelError> {
        for (sequence, chunk) in batch.iter().enumerate() {
            check(config, cache, sequence, chunk)?;
        }
        let mut plan = Self {
            token_ids: vec![],
            positions: vec![],
            slots: vec![],
            spans: vec![],
            generated: 0,
            decode_rows: decode_rows.max(1),
        };
        plan.add(cache, batch, TokenKind::Generated);
        plan.generated = plan.token_ids.len();
        plan.add(cache, batch, TokenKind::Prompt);
        Ok(plan)
    }

    /// Appends the chunks of `kind`.
    fn add(&mut self, cache: CacheShape, batch: &[SequenceChunk<'a>], kind: TokenKind) {
        let chunks = batch.iter().enumerate();
        for (sequence, chunk) in chunks.filter(|(_, chunk)| chunk.kind == kind) {
            self.spans.push(Span {
                first_row: self.token_ids.len(),
                sequence,
                chunk: *chunk,
            });
            self.token_ids.extend_from_slice(chunk.token_ids);
            for position in chunk.start_pos..chunk.start_pos + chunk.token_ids.len() {
                let block = chunk.blocks.blocks()[position / cache.block_size] as usize;
                self.positions.push(position as u32);
                self.slots
                    .push((block * cache.block_size + position % cache.block_size) as u32);
            }
        }
    }

    /// Splits the tokens into micro-batches of one kind: of at most `decode_rows` generated
    /// tokens, then of at most [`MAX_BATCH_TOKENS`] prompt tokens. The split is independent of the
    /// stages.
    pub(crate) fn micro_batches(&self) -> impl Iterator<Item = MicroBatch<'_, 'a>> {
        let parts = |kind, rows: Range<usize>, max| {
            let starts = rows.clone().step_by(max);
            starts.map(move |first| (kind, first..rows.end.min(first + max)))
        };
        let (generated, rows) = (self.generated, self.token_ids.len());
        parts(TokenKind::Generated, 0..generated, self.decode_rows)
            .chain(parts(TokenKind::Prompt, generated..rows, MAX_BATCH_TOKENS))
            .enumerate()
            .map(|(index, (kind, rows))| MicroBatch::new(self, index, kind, rows))
    }

    /// Returns the error for a non-finite value of token `row`.
    fn non_finite(&self, layer: usize, row: usize, value: f32) -> ModelError {
        let mut spans = self.spans.iter().rev();
        let sequence = spans
            .find(|span| span.first_row <= row)
            .map_or(0, |span| span.sequence);
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

    /// Splits `output`, the results of all wanted tokens, by chunks, in the order of the request.
    pub(crate) fn split_by_sequence(&self, output: BatchOutput, vocab_size: usize) -> Vec<Logits> {
        let (mut logits, mut tokens) = (output.logits, output.tokens.into_iter());
        let mut first = 0;
        let mut take = |chunk: &SequenceChunk<'_>| {
            let sampled: Vec<_> = tokens.by_ref().take(rows_of(chunk)).collect();
            let rows = sampled.iter().filter(|token| token.is_none()).count();
            let end = (first + rows * vocab_size).min(logits.len());
            let values = if first == 0 && end == logits.len() {
                std::mem::take(&mut logits) // without a copy
            } else {
                let values = logits[first..end].to_vec();
                first = end;
                values
            };
            Logits::sampled(sampled, values, vocab_size)
        };
        let spans = self.spans.iter();
        in_request_order(spans.map(|span| (span.sequence, take(&span.chunk))))
    }

    /// Returns `values`, `[tokens, width]` in the order of the micro-batches, in the order of the
    /// request. They are of the wanted tokens only, or of all.
    pub(crate) fn hidden_in_order(&self, values: &[f32], only_wanted: bool) -> Vec<f32> {
        let tokens = |span: &Span<'_>| {
            if only_wanted {
                rows_of(&span.chunk)
            } else {
                span.chunk.token_ids.len()
            }
        };
        let total: usize = self.spans.iter().map(tokens).sum();
        let width = values.len().checked_div(total).unwrap_or(0);
        let mut rest = values;
        let spans = self.spans.iter().map(|span| {
            let (part, tail) = rest.split_at((tokens(span) * width).min(rest.len()));
            rest = tail;
            (span.sequence, part)
        });
        in_request_order(spans).concat()
    }
}

/// Returns an error for a chunk that cannot be computed.
fn check(
    config: &MossConfig,
    cache: CacheShape,
    sequence: usize,
    chunk: &SequenceChunk<'_>,
) -> Result<(), ModelError> {
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
    let found = chunk.blocks.blocks().len();
    let expected = end.div_ceil(cache.block_size);
    if found < expected {
        return Err(ModelError::BlocksMissing {
            sequence,
            found,
            expected,
        });
    }
    let vocab_size = config.vocab_size;
    let mut ids = chunk.token_ids.iter();
    match ids.find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(ModelError::UnknownToken { id, vocab_size }),
        None => Ok(()),
    }
}

/// Sorts items by the index before them, and removes the index.
fn in_request_order<T>(items: impl Iterator<Item = (usize, T)>) -> Vec<T> {
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|(sequence, _)| *sequence);
    items.into_iter().map(|(_, item)| item).collect()
}

/// Consecutive tokens of a plan, of one kind, that pass through the layers together.
pub(crate) struct MicroBatch<'p, 'a> {
    plan: &'p Plan<'a>,
    /// Index within the forward batch.
    pub(crate) index: usize,
    /// The kind of all tokens; results of the CPU do not depend on it.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) kind: TokenKind,
    /// Tokens of the plan.
    pub(crate) rows: Range<usize>,
    /// The tokens of each sequence, relative to the micro-batch.
    pub(crate) sequences: Vec<SequenceRows<'a>>,
    /// Tokens that pass through lm_head, relative to the micro-batch, in order.
    pub(crate) wanted: Vec<u32>,
    /// The request to sample after each wanted token, if any; the CPU returns all logits.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) requests: Vec<Option<SampleRequest<'a>>>,
}

impl<'p, 'a> MicroBatch<'p, 'a> {
    fn new(plan: &'p Plan<'a>, index: usize, kind: TokenKind, rows: Range<usize>) -> Self {
        let (mut sequences, mut wanted, mut requests) = (vec![], vec![], vec![]);
        for Span {
            first_row, chunk, ..
        } in &plan.spans
        {
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
            let first_wanted = end - rows_of(chunk);
            for row in overlap.start.max(first_wanted)..overlap.end {
                wanted.push((row - rows.start) as u32);
                requests.push(chunk.logits.request(row - first_wanted));
            }
        }
        Self {
            plan,
            index,
            kind,
            rows,
            sequences,
            wanted,
            requests,
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
    /// The logits of tokens after which none was sampled.
    pub(crate) logits: Vec<f32>,
    /// The token sampled after each token, or `None` if its logits are in `logits`.
    pub(crate) tokens: Vec<Option<u32>>,
}

impl BatchOutput {
    /// Appends the logits of `rows` tokens.
    pub(crate) fn extend(&mut self, rows: usize, logits: Vec<f32>) {
        if self.logits.is_empty() {
            self.logits = logits;
        } else {
            self.logits.extend(logits);
        }
        self.tokens.resize(self.tokens.len() + rows, None);
    }
}

/// Returns the number of tokens of a chunk that pass through lm_head.
fn rows_of(chunk: &SequenceChunk<'_>) -> usize {
    chunk.logits.count(chunk.token_ids.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
