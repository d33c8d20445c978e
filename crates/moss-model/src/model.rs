//! The whole network: embedding, blocks, final norm, head.

use candle_core::{DType, Device, Tensor};
use moss_kernels::{
    KernelError, Linear, LinearWeight,
    ops::{self, Embedding, RopePrecision, RopeTable, SequenceRows},
};

use crate::{
    BlockTable, CacheShape, LanguageModel, LogitRows, Logits, ModelError, MossConfig, SequenceChunk,
    WeightSource,
    block::{Block, LayerNorm, Rows, load_linear},
    names,
};

/// What the values between two ops are rounded to, the cache included. Sums and the residual stream are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeDtype {
    /// Exact to the last bits; twice the cache.
    #[default]
    F32,
    /// As the published model runs on a GPU.
    F16,
    /// The range of f32 with eight bits of precision.
    BF16,
}

impl ComputeDtype {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    fn candle(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

/// How to place a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Rounding of activations and cache.
    pub dtype: ComputeDtype,
    /// Exact rotary frequencies, or rounded to f16 as upstream's quantised models have them.
    pub rope_precision: RopePrecision,
    /// Extent of the key/value cache; pages are committed as they are first used.
    pub cache: CacheShape,
    /// Where the weights go.
    pub device: Device,
}

impl LoadOptions {
    /// f32 on the CPU with a cache of `positions`.
    pub fn cpu(positions: usize) -> Self {
        Self {
            dtype: ComputeDtype::F32,
            rope_precision: RopePrecision::F32,
            cache: CacheShape::for_positions(positions),
            device: Device::Cpu,
        }
    }
}

/// Progress of loading. `Started`, then one `Layer` a layer, then `Finished` unless an error is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadEvent {
    /// Sizes are known.
    Started {
        /// Layers to come.
        layers: usize,
    },
    /// A layer is in place.
    Layer {
        /// Layers in place.
        done: usize,
        /// Bytes of weights in place.
        bytes: u64,
    },
    /// Everything is in place.
    Finished,
}

/// Points of the network that a tap can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenPoint {
    /// The embedding rows.
    Embedding,
    /// The residual stream after block `0..num_layers`.
    Block(usize),
    /// The final norm, for the rows whose logits were asked for.
    FinalNorm,
}

/// Sees `[rows, hidden_size]` f32 values of a forward pass, row-major.
pub type HiddenTap<'a> = dyn FnMut(HiddenPoint, &[f32]) + 'a;

/// MOSS-moon-003 or any CodeGen network of its form, on one device.
#[derive(Debug)]
pub struct Moss {
    config: MossConfig,
    embedding: Embedding,
    rope: RopeTable,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    lm_head: Linear,
    cache: CacheShape,
    dtype: ComputeDtype,
    device: Device,
}

impl Moss {
    /// Places the weights of `source`. Mapped weights are used where they lie.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::Checkpoint`] for what the files lack; [`ModelError::Kernel`] for what an op refuses.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let config = source.config()?;
        let (layers, device) = (config.num_layers, &options.device);
        progress(LoadEvent::Started { layers });
        let at_head = |op, source| ModelError::Kernel { layer: layers, op, source };

        let wte = source
            .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
            .ok_or_else(|| source.missing(names::EMBEDDING))?;
        let lm_head_weight = format!("{}.weight", names::LM_HEAD);
        let lm_head = if source.matrix(&lm_head_weight, config.vocab_size, config.hidden_size)?.is_some() {
            let has_bias = source.vector(&format!("{}.bias", names::LM_HEAD), config.vocab_size)?.is_some();
            load_linear(
                source,
                layers,
                names::LM_HEAD,
                config.hidden_size,
                config.vocab_size,
                has_bias,
                device,
            )?
        } else if config.tie_word_embeddings {
            Linear::new(LinearWeight::Dense(wte.clone()), None, device)
                .map_err(|error| at_head("linear", error))?
        } else {
            return Err(source.missing(&lm_head_weight));
        };
        let embedding = Embedding::new(wte).map_err(|error| at_head("embedding", error))?;
        let rope = RopeTable::new(config.rotary_dim, config.context_length, options.rope_precision, device)
            .map_err(|error| at_head("rotary table", error))?;

        let mut bytes = lm_head.weight_bytes();
        let mut blocks = Vec::with_capacity(layers);
        for layer in 0..layers {
            let block = Block::load(source, layer, &config, options.cache, options.dtype.candle(), device)?;
            bytes += block.weight_bytes();
            blocks.push(block);
            progress(LoadEvent::Layer { done: layer + 1, bytes });
        }
        let final_norm = LayerNorm::load(source, names::FINAL_NORM, &config)?;
        progress(LoadEvent::Finished);
        tracing::info!(layers, weight_bytes = bytes, "model placed");
        Ok(Self {
            config,
            embedding,
            rope,
            blocks,
            final_norm,
            lm_head,
            cache: options.cache,
            dtype: options.dtype,
            device: options.device.clone(),
        })
    }

    /// As [`LanguageModel::forward`], and shows `tap` the hidden states on the way.
    ///
    /// # Errors
    /// As for [`LanguageModel::forward`].
    pub fn forward_traced(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
        tap: Option<&mut HiddenTap<'_>>,
    ) -> Result<Vec<Logits>, ModelError> {
        let plan = Plan::new(&self.config, self.cache, batch)?;
        let mut tap = Tap(tap);
        let sequences = plan.sequences();
        let rows = Rows { positions: &plan.positions, slots: &plan.slots, sequences: &sequences };

        let mut x = self
            .embedding
            .lookup(&plan.token_ids, &self.device)
            .map_err(|source| ModelError::Kernel { layer: 0, op: "embedding", source })?;
        tap.show(HiddenPoint::Embedding, &x)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            if interrupted() {
                return Err(ModelError::Interrupted);
            }
            let _span = tracing::trace_span!("block", layer, rows = plan.positions.len()).entered();
            x = block.forward(&x, &self.rope, &rows).map_err(|source| ModelError::Kernel {
                layer,
                op: "block",
                source,
            })?;
            plan.check_finite(&x, layer, &plan.all_rows())?;
            tap.show(HiddenPoint::Block(layer), &x)?;
        }
        self.head(&x, &plan, batch, &mut tap)
    }

    /// Final norm and `lm_head` over the rows that were asked for.
    fn head(
        &self,
        x: &Tensor,
        plan: &Plan<'_>,
        batch: &[SequenceChunk<'_>],
        tap: &mut Tap<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        let layer = self.config.num_layers;
        let wanted = plan.logit_rows(batch);
        let vocab_size = self.config.vocab_size;
        if wanted.is_empty() {
            return Ok(batch.iter().map(|_| Logits::new(Vec::new(), vocab_size)).collect());
        }
        let run = || -> Result<(Tensor, Tensor), KernelError> {
            let index = Tensor::from_slice(&wanted, wanted.len(), &self.device)?;
            let x = if wanted.len() == x.dim(0)? { x.clone() } else { x.index_select(&index, 0)? };
            let normed = self.final_norm.forward(&x, self.dtype.candle())?; // [wanted, hidden]
            let logits = self.lm_head.forward(&normed)?; // [wanted, vocab]
            Ok((normed, logits))
        };
        let (normed, logits) = run().map_err(|source| ModelError::Kernel { layer, op: "head", source })?;
        tap.show(HiddenPoint::FinalNorm, &normed)?;
        plan.check_finite(&logits, layer, &wanted)?;
        let values = to_host(&logits).map_err(|source| ModelError::Kernel { layer, op: "logits", source })?;
        let mut rest = values;
        Ok(batch
            .iter()
            .map(|chunk| {
                let tail = rest.split_off((rows_of(chunk) * vocab_size).min(rest.len()));
                Logits::new(std::mem::replace(&mut rest, tail), vocab_size)
            })
            .collect())
    }
}

impl LanguageModel for Moss {
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
        self.forward_traced(batch, interrupted, None)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.lm_head.weight_bytes() + self.blocks.iter().map(Block::weight_bytes).sum::<u64>()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.config.cache_bytes_per_position(self.dtype.bytes())
    }
}

/// The rows of one forward pass: everything that can be wrong with a batch is found here, before any work.
struct Plan<'a> {
    token_ids: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    spans: Vec<(usize, SequenceChunk<'a>)>, // first row, chunk
}

impl<'a> Plan<'a> {
    fn new(config: &MossConfig, cache: CacheShape, batch: &[SequenceChunk<'a>]) -> Result<Self, ModelError> {
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

    fn sequences(&self) -> Vec<SequenceRows<'a>> {
        let rows = |(first_row, chunk): &(usize, SequenceChunk<'a>)| SequenceRows {
            first_row: *first_row,
            num_rows: chunk.token_ids.len(),
            start_pos: chunk.start_pos,
            blocks: BlockTable::blocks(chunk.blocks),
        };
        self.spans.iter().map(rows).collect()
    }

    fn all_rows(&self) -> Vec<u32> {
        (0..self.positions.len() as u32).collect()
    }

    /// Rows that go through the head, in the order of the batch.
    fn logit_rows(&self, batch: &[SequenceChunk<'_>]) -> Vec<u32> {
        let spans = self.spans.iter().zip(batch);
        spans
            .flat_map(|((first_row, chunk), asked)| {
                let end = first_row + chunk.token_ids.len();
                (end - rows_of(asked)..end).map(|row| row as u32)
            })
            .collect()
    }

    /// `rows[i]` says which row of the pass row `i` of `x` is.
    fn check_finite(&self, x: &Tensor, layer: usize, rows: &[u32]) -> Result<(), ModelError> {
        let kernel = |source| ModelError::Kernel { layer, op: "finite check", source };
        let Some(bad) = ops::first_non_finite(x).map_err(kernel)? else { return Ok(()) };
        let row = rows.get(bad.row).map_or(0, |row| *row as usize);
        let sequence = self.spans.iter().rposition(|(first_row, _)| *first_row <= row).unwrap_or(0);
        let position = self.positions.get(row).map_or(0, |position| *position as usize);
        Err(ModelError::NonFinite { layer, sequence, position, value: bad.value })
    }
}

/// Rows of a chunk that go through the head.
fn rows_of(chunk: &SequenceChunk<'_>) -> usize {
    match chunk.logits {
        LogitRows::None => 0,
        LogitRows::Last | LogitRows::Cut(_) => 1, // on the host a whole row is as near as its best
        LogitRows::All => chunk.token_ids.len(),
    }
}

/// `[rows, n]` values in f32 on the host, row-major.
fn to_host(x: &Tensor) -> Result<Vec<f32>, KernelError> {
    Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A tap that may be absent.
struct Tap<'a, 'b>(Option<&'a mut HiddenTap<'b>>);

impl Tap<'_, '_> {
    fn show(&mut self, point: HiddenPoint, x: &Tensor) -> Result<(), ModelError> {
        let Some(tap) = &mut self.0 else { return Ok(()) };
        let values =
            to_host(x).map_err(|source| ModelError::Kernel { layer: 0, op: "hidden state", source })?;
        tap(point, &values);
        Ok(())
    }
}
