//! A language model without weights: the next token is a function of the tokens before it.

mod fault;

pub use fault::{Fault, Faults, device_lost};

use std::sync::{Arc, Mutex};

use moss_model::{
    BlockFormat, CacheShape, LanguageModel, Logits, ModelError, MossConfig, SequenceChunk,
    TokenKind,
};

type Next = Box<dyn Fn(&[u32]) -> u32 + Send>;

/// A chunk of a forward batch, as the model received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChunk {
    /// [`SequenceChunk::kind`].
    pub kind: TokenKind,
    /// [`SequenceChunk::start_pos`].
    pub start_pos: usize,
    /// [`SequenceChunk::token_ids`].
    pub token_ids: Vec<u32>,
}

impl From<&SequenceChunk<'_>> for SeenChunk {
    fn from(chunk: &SequenceChunk<'_>) -> Self {
        Self {
            kind: chunk.kind,
            start_pos: chunk.start_pos,
            token_ids: chunk.token_ids.to_vec(),
        }
    }
}

/// Stores the token ids in its KV cache, one per slot, and computes the next token from what the
/// block table leads to. A wrong block table or position therefore changes the output.
pub struct ScriptedModel {
    /// The configuration. Only sizes are used.
    pub config: MossConfig,
    cache: CacheShape,
    slots: Vec<u32>,
    next: Next,
    before: Box<dyn Fn(usize) + Send>,
    /// A forward batch with this token id fails, with NaN in layer 3.
    pub poison: Option<u32>,
    /// Number of checks for interruption in a forward pass, each after a call of [`Self::before`].
    pub layers: usize,
    /// Samples tokens on request, as a model on a GPU does.
    pub samples: bool,
    /// Logits of the other tokens, given history and token id. They must be less than 10.
    pub noise: Option<fn(&[u32], u32) -> f32>,
    /// Planned failures.
    pub faults: Faults,
    /// The chunks of each forward pass so far, failed ones included.
    pub seen: Arc<Mutex<Vec<Vec<SeenChunk>>>>,
}

impl ScriptedModel {
    /// Returns a model with a cache of `positions` and a context length of 256, in which `next`
    /// returns the token that follows a history.
    pub fn new(
        vocab_size: usize,
        positions: usize,
        next: impl Fn(&[u32]) -> u32 + Send + 'static,
    ) -> Self {
        let cache = CacheShape::for_positions(positions);
        let config = MossConfig {
            vocab_size,
            context_length: 256,
            eos_token_id: None,
            ..MossConfig::moon_003()
        };
        Self {
            config,
            cache,
            slots: vec![u32::MAX; cache.positions()],
            next: Box::new(next),
            before: Box::new(|_| {}),
            poison: None,
            layers: 1,
            samples: false,
            noise: None,
            faults: Faults::default(),
            seen: Arc::default(),
        }
    }

    /// Calls `before` with the number of tokens, before each layer of each forward pass.
    #[must_use]
    pub fn before(mut self, before: impl Fn(usize) + Send + 'static) -> Self {
        self.before = Box::new(before);
        self
    }

    /// Overwrites the last slot of each chunk: a pass that fails may leave any values in the cache.
    fn spoil(&mut self, batch: &[SequenceChunk<'_>]) {
        for chunk in batch {
            let slot = self.slot(chunk, chunk.start_pos + chunk.token_ids.len() - 1);
            self.slots[slot] = 96;
        }
    }

    fn slot(&self, chunk: &SequenceChunk<'_>, position: usize) -> usize {
        let size = self.cache.block_size;
        chunk.blocks.blocks()[position / size] as usize * size + position % size
    }

    /// Writes a chunk to the cache and returns all tokens of its sequence.
    fn write(&mut self, chunk: &SequenceChunk<'_>) -> Vec<u32> {
        for (index, id) in chunk.token_ids.iter().enumerate() {
            let slot = self.slot(chunk, chunk.start_pos + index);
            self.slots[slot] = *id;
        }
        let positions = 0..chunk.start_pos + chunk.token_ids.len();
        positions
            .map(|position| self.slots[self.slot(chunk, position)])
            .collect()
    }

    /// Returns the logits after `history`.
    fn row(&self, history: &[u32], fault: Option<Fault>) -> Vec<f32> {
        let vocab = self.config.vocab_size;
        let mut row = vec![0.0; vocab];
        if let Some(noise) = self.noise {
            row = (0..vocab as u32).map(|id| noise(history, id)).collect();
        }
        row[(self.next)(history) as usize] = 10.0;
        match fault {
            Some(Fault::NanLogits) => row.fill(f32::NAN),
            Some(Fault::InfiniteLogits) => row.fill(f32::NEG_INFINITY),
            Some(Fault::NoRows) => row.clear(),
            _ => {}
        }
        row
    }

    fn logits(&self, chunk: &SequenceChunk<'_>, history: &[u32], fault: Option<Fault>) -> Logits {
        let vocab = self.config.vocab_size;
        if fault == Some(Fault::UnrequestedToken) {
            return Logits::from_token(1, vocab);
        }
        let count = chunk.logits.count(chunk.token_ids.len());
        let (mut tokens, mut values) = (Vec::new(), Vec::new());
        for index in 0..count {
            let seen = &history[..history.len() - (count - 1 - index)];
            let row = self.row(seen, fault);
            if fault == Some(Fault::ShortRows) {
                return Logits::new(row[1..].to_vec(), vocab - 1);
            }
            let request = chunk.logits.request(index).filter(|_| self.samples);
            let token = match request {
                Some(_) if fault == Some(Fault::UnknownToken) => Some(vocab as u32),
                Some(request) if row.len() == vocab => request.draw(&row),
                _ => None,
            };
            if token.is_none() {
                values.extend(row);
            }
            tokens.push(token);
        }
        Logits::sampled(tokens, values, vocab)
    }
}

impl LanguageModel for ScriptedModel {
    fn config(&self) -> &MossConfig {
        &self.config
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        let seen = batch.iter().map(SeenChunk::from).collect();
        self.seen.lock().unwrap().push(seen);
        let fault = self.faults.next();
        for _ in 0..self.layers {
            (self.before)(batch.iter().map(|chunk| chunk.token_ids.len()).sum());
            if interrupted() {
                self.spoil(batch);
                return Err(ModelError::Interrupted);
            }
        }
        if let Some(error) = fault.and_then(|fault| fault.error(batch.len())) {
            self.spoil(batch);
            return Err(error);
        }
        let is_poisoned = |chunk: &SequenceChunk<'_>| {
            let mut ids = chunk.token_ids.iter();
            ids.any(|id| Some(*id) == self.poison)
        };
        if let Some(sequence) = batch.iter().position(is_poisoned) {
            return Err(ModelError::NonFinite {
                layer: 3,
                sequence,
                position: 0,
                value: f32::NAN,
            });
        }
        let mut out = Vec::new();
        for chunk in batch {
            let history = self.write(chunk);
            out.push(self.logits(chunk, &history, fault));
        }
        if fault == Some(Fault::MissingOutput) {
            out.pop();
        }
        Ok(out)
    }

    fn block_format(&self) -> Option<BlockFormat> {
        Some(BlockFormat {
            bytes: self.cache.block_size * size_of::<u32>(),
            description: "scripted".to_owned(),
        })
    }

    fn read_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), ModelError> {
        let size = self.cache.block_size;
        let slots = &self.slots[block as usize * size..][..size];
        out.extend(slots.iter().flat_map(|slot| slot.to_le_bytes()));
        Ok(())
    }

    fn write_block(&mut self, block: u32, bytes: &[u8]) -> Result<(), ModelError> {
        let size = self.cache.block_size;
        let slots = bytes.as_chunks::<4>().0;
        if slots.len() != size {
            return Err(ModelError::BlocksNotStored);
        }
        for (slot, bytes) in self.slots[block as usize * size..].iter_mut().zip(slots) {
            *slot = u32::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn weight_bytes_per_token(&self) -> u64 {
        0
    }

    fn cache_bytes_per_position(&self) -> u64 {
        0
    }
}
