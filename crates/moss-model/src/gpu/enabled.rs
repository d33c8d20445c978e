//! The network on one NVIDIA GPU: a handful of launches a layer over buffers that were all taken before the first pass.
//!
//! Up to [`FEW_ROWS`] rows the weights are read once, by kernels that do what comes before and after in the same launch; a step in which
//! every sequence brings one row is recorded and then started as one graph. More rows go through cuBLAS.

mod block;
mod memory;
mod workspace;

use std::collections::HashMap;

use moss_kernels::{
    DenseWeight, GptqBits, KernelError,
    cuda::{FEW_ROWS, Gpu, GpuLinear, Graph, NormWeights, RopeOnGpu, Uploader, Watch},
};

use crate::{
    ComputeDtype, HiddenPoint, LoadEvent, LoadOptions, Logits, ModelError, MossConfig, WeightFormat,
    WeightSource, names, plan::Plan, source::lm_head, tap::Tap,
};

use block::GpuBlock;
use workspace::{Inputs, Workspace};

/// Whether this build has kernels for NVIDIA GPUs.
pub const CUDA: bool = true;

/// Rows of a pass at most; longer ones are cut up.
const MAX_ROWS: usize = 512;

/// Sequences of a recorded step at most.
const MAX_STEP_ROWS: usize = 16;

/// Where the embedding's rows lie.
#[derive(Debug)]
enum EmbeddingTable {
    Device(Box<GpuLinear>),
    Host(DenseWeight),
}

/// Weights, cache and buffers on one card.
#[derive(Debug)]
pub(crate) struct GpuNetwork {
    config: MossConfig,
    blocks: Vec<GpuBlock>,
    embedding: EmbeddingTable,
    final_norm: NormWeights,
    lm_head: GpuLinear,
    rope: RopeOnGpu,
    workspace: Workspace,
    graphs: HashMap<usize, Graph>,
    many_rows_from: usize,
    /// After everything that lives on it.
    gpu: Gpu,
}

/// How weights get to a card.
struct Loader<'a> {
    gpu: &'a Gpu,
    source: &'a dyn WeightSource,
    uploader: Uploader,
    scratch: Option<moss_kernels::cuda::Buffer<u8>>,
}

impl Loader<'_> {
    fn linear(
        &mut self,
        layer: usize,
        stem: &str,
        shape: (usize, usize),
        has_bias: bool,
    ) -> Result<GpuLinear, ModelError> {
        let (in_features, out_features) = shape;
        let kernel = |source| ModelError::Kernel { layer, op: "load", source };
        if let Some(format) = self.source.made_up() {
            let bits = match format {
                WeightFormat::Gptq(bits) if stem != names::LM_HEAD => Some(bits),
                _ => None,
            };
            let bias = has_bias.then(|| vec![0.01; out_features]);
            return self.made_up(layer, stem, bits, shape, bias.as_deref()).map_err(kernel);
        }
        let parts = self.source.linear(stem, in_features, out_features, has_bias)?;
        let linear = GpuLinear::load(
            self.gpu,
            &parts.weight,
            parts.bias.as_deref(),
            &mut self.uploader,
            &mut self.scratch,
        )
        .map_err(kernel)?;
        self.source.release(stem);
        Ok(linear)
    }

    fn made_up(
        &self,
        layer: usize,
        stem: &str,
        bits: Option<GptqBits>,
        (in_features, out_features): (usize, usize),
        bias: Option<&[f32]>,
    ) -> Result<GpuLinear, KernelError> {
        let seed =
            stem.bytes().fold(layer as u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
        GpuLinear::random(self.gpu, bits, in_features, out_features, bias, seed)
    }

    fn norm(&self, layer: usize, stem: &str, config: &MossConfig) -> Result<NormWeights, ModelError> {
        let vector = |tail: &str| {
            let name = format!("{stem}.{tail}");
            let values =
                self.source.vector(&name, config.hidden_size)?.ok_or_else(|| self.source.missing(&name))?;
            self.gpu.upload(&values).map_err(|source| ModelError::Kernel { layer, op: "load", source })
        };
        Ok(NormWeights {
            weight: vector("weight")?,
            bias: vector("bias")?,
            epsilon: config.layer_norm_epsilon,
        })
    }
}

impl GpuNetwork {
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        options: &LoadOptions,
        (ordinal, newest_code): (usize, Option<u32>),
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        if options.dtype != ComputeDtype::F16 {
            return Err(ModelError::GpuDtype { found: options.dtype });
        }
        let layers = config.num_layers;
        progress(LoadEvent::Started { layers });
        let gpu = Gpu::open(ordinal, newest_code).map_err(ModelError::Gpu)?;
        let (memory, embedding_on_host) = memory::plan(source, config, options.cache, &gpu)?;
        progress(LoadEvent::Planned(memory));

        let at_head = |op| move |source| ModelError::Kernel { layer: layers, op, source };
        let uploader = Uploader::new(&gpu).map_err(at_head("load"))?;
        let mut loader = Loader { gpu: &gpu, source, uploader, scratch: None };
        let vocabulary = (config.hidden_size, config.vocab_size);
        let (embedding, lm_head) = loader.vocabulary(config, vocabulary, embedding_on_host)?;
        let mut bytes = lm_head.weight_bytes();
        let mut blocks = Vec::with_capacity(layers);
        for layer in 0..layers {
            let block = GpuBlock::load(&mut loader, layer, config, options.cache)?;
            bytes += block.weight_bytes();
            blocks.push(block);
            progress(LoadEvent::Layer { done: layer + 1, bytes });
        }
        let final_norm = loader.norm(layers, names::FINAL_NORM, config)?;
        gpu.synchronize().map_err(at_head("load"))?;
        drop(loader);
        let rope = RopeOnGpu::new(&gpu, config.rotary_dim, config.context_length, options.rope_precision)
            .map_err(at_head("rotary table"))?;
        let workspace = Workspace::new(&gpu, config, &blocks, &lm_head, embedding_on_host)
            .map_err(at_head("workspace"))?;
        gpu.synchronize().map_err(at_head("workspace"))?;
        progress(LoadEvent::Finished);
        tracing::info!(layers, weight_bytes = bytes, gpu = ordinal, code = %gpu.info().code, "model placed");
        Ok(Self {
            config: config.clone(),
            blocks,
            embedding,
            final_norm,
            lm_head,
            rope,
            workspace,
            graphs: HashMap::new(),
            many_rows_from: options.many_rows_from.unwrap_or(FEW_ROWS + 1).clamp(1, FEW_ROWS + 1),
            gpu,
        })
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        self.lm_head.weight_bytes() + self.blocks.iter().map(GpuBlock::weight_bytes).sum::<u64>()
    }

    pub(crate) fn copy_bandwidth(&self) -> Result<f64, ModelError> {
        self.gpu.copy_bandwidth().map_err(ModelError::Gpu)
    }

    pub(crate) fn forward(
        &mut self,
        plan: &Plan<'_>,
        interrupted: &dyn Fn() -> bool,
        tap: &mut Tap<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        let wanted = plan.logit_rows();
        let mut values = Vec::with_capacity(wanted.len() * self.config.vocab_size);
        let rows = plan.token_ids.len();
        for first in (0..rows).step_by(MAX_ROWS) {
            if interrupted() {
                return Err(ModelError::Interrupted);
            }
            let last = rows.min(first + MAX_ROWS);
            let wanted: Vec<u32> = wanted
                .iter()
                .filter(|row| (first..last).contains(&(**row as usize)))
                .map(|row| row - first as u32)
                .collect();
            self.pass(plan, first, last, &wanted, &mut values, tap)?;
        }
        Ok(plan.share_out(values, self.config.vocab_size))
    }

    /// Rows `first..last` of the plan through all layers; the logits of `wanted`, counted from `first`, are added to `values`.
    fn pass(
        &mut self,
        plan: &Plan<'_>,
        first: usize,
        last: usize,
        wanted: &[u32],
        values: &mut Vec<f32>,
        tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        let (layers, n) = (self.config.num_layers, last - first);
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        let inputs = Inputs { plan, rows: first..last, wanted };
        self.workspace.put(&inputs).map_err(at(0, "inputs"))?;
        if let EmbeddingTable::Host(table) = &self.embedding {
            self.workspace.put_embedding(&plan.token_ids[first..last], table).map_err(at(0, "embedding"))?;
        }
        let every_row_wanted = wanted.len() == n;
        // A step of single tokens is always the same work at other positions.
        let is_step =
            tap.0.is_none() && every_row_wanted && self.workspace.is_step(n) && n < self.many_rows_from;
        if is_step {
            if !self.graphs.contains_key(&n) {
                let graph = Graph::record(&self.gpu, || self.step(n)).map_err(at(0, "record a step"))?;
                self.graphs.insert(n, graph);
            }
            if let Some(graph) = self.graphs.get_mut(&n) {
                graph.launch().map_err(at(0, "start a step"))?;
            }
            self.collect(n, values).map_err(at(layers, "logits"))?;
        } else {
            self.embed(n).map_err(at(0, "embedding"))?;
            self.show(HiddenPoint::Embedding, n, tap)?;
            for layer in 0..layers {
                let _span = tracing::trace_span!("block", layer, rows = n).entered();
                self.layer(layer, n).map_err(at(layer, "block"))?;
                self.show(HiddenPoint::Block(layer), n, tap)?;
            }
            let mut done = 0;
            for part in wanted.chunks(FEW_ROWS) {
                self.head(n, done, part.len(), every_row_wanted && n <= FEW_ROWS)
                    .map_err(at(layers, "head"))?;
                self.collect(part.len(), values).map_err(at(layers, "logits"))?;
                if tap.0.is_some() {
                    let normed = self
                        .workspace
                        .final_rows(&self.gpu, part.len(), &self.lm_head)
                        .map_err(at(layers, "head"))?;
                    tap.show_values(HiddenPoint::FinalNorm, &normed);
                }
                done += part.len();
            }
        }
        let flag = self.workspace.flag(&self.gpu, !wanted.is_empty()).map_err(at(layers, "finite check"))?;
        match flag {
            u64::MAX => Ok(()),
            flag => {
                let (layer, row) = ((flag >> 48) as usize, (flag >> 32 & 0xFFFF) as usize);
                let row = if layer == layers { wanted.get(row).map_or(0, |row| *row as usize) } else { row };
                Err(plan.non_finite(layer, first + row, f32::from_bits(flag as u32)))
            }
        }
    }

    /// Everything of a step of `n` sequences with a token each.
    fn step(&self, n: usize) -> Result<(), KernelError> {
        self.embed(n)?;
        for layer in 0..self.config.num_layers {
            self.layer(layer, n)?;
        }
        self.head(n, 0, n, true)
    }

    fn embed(&self, n: usize) -> Result<(), KernelError> {
        let w = &self.workspace;
        let (table, ids) = match &self.embedding {
            EmbeddingTable::Device(table) => (table.dense_rows()?, w.ids(n)?),
            EmbeddingTable::Host(_) => {
                ((w.embedding_rows()?.all(), self.config.hidden_size), w.row_numbers(n)?)
            }
        };
        self.gpu.embedding(table, ids, self.config.hidden_size, n, &w.stream, &w.flag)
    }

    fn layer(&self, layer: usize, n: usize) -> Result<(), KernelError> {
        let watch = Watch { flag: &self.workspace.flag, layer };
        let few = n < self.many_rows_from;
        self.blocks[layer].forward(&self.gpu, &self.workspace, &self.rope, n, few, watch)
    }

    /// Final norm and lm_head for `count` rows: those from `first` on in the list of wanted rows, or all rows of the pass in order.
    fn head(&self, n: usize, first: usize, count: usize, in_order: bool) -> Result<(), KernelError> {
        let (gpu, w) = (&self.gpu, &self.workspace);
        let rows = if in_order { None } else { Some(w.wanted(n, first, count)?) };
        let input = w.final_input();
        if self.lm_head.has_fillers() {
            gpu.clear(input.values)?;
        }
        gpu.layer_norm(&w.stream, rows, count, &self.final_norm, &[(input, &self.lm_head)])?;
        let watch = Watch { flag: &w.flag, layer: self.config.num_layers };
        gpu.linear_store(&self.lm_head, input, count, w.logits.all(), watch)
    }

    /// Fetches the logits of `count` rows.
    fn collect(&mut self, count: usize, values: &mut Vec<f32>) -> Result<(), KernelError> {
        self.workspace.fetch_logits(count * self.config.vocab_size, values)
    }

    fn show(&self, point: HiddenPoint, n: usize, tap: &mut Tap<'_, '_>) -> Result<(), ModelError> {
        if tap.0.is_none() {
            return Ok(());
        }
        let values = self
            .gpu
            .download(&self.workspace.stream, n * self.config.hidden_size)
            .map_err(|source| ModelError::Kernel { layer: 0, op: "hidden state", source })?;
        tap.show_values(point, &values);
        Ok(())
    }
}

impl Loader<'_> {
    /// The embedding, and the head.
    fn vocabulary(
        &mut self,
        config: &MossConfig,
        shape: (usize, usize),
        on_host: bool,
    ) -> Result<(EmbeddingTable, GpuLinear), ModelError> {
        let layers = config.num_layers;
        let kernel = |source| ModelError::Kernel { layer: layers, op: "load", source };
        if self.source.made_up().is_some() && !on_host {
            let bias = vec![0.01; config.vocab_size];
            let head = self.made_up(layers, names::LM_HEAD, None, shape, Some(&bias)).map_err(kernel)?;
            let table = self.made_up(layers, names::EMBEDDING, None, shape, None).map_err(kernel)?;
            return Ok((EmbeddingTable::Device(Box::new(table)), head));
        }
        let missing = || self.source.missing(names::EMBEDDING);
        let wte = self
            .source
            .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
            .ok_or_else(missing)?;
        let parts = lm_head(self.source, config, &wte)?;
        let bias = parts.bias.as_deref();
        let head = GpuLinear::load(self.gpu, &parts.weight, bias, &mut self.uploader, &mut self.scratch)
            .map_err(kernel)?;
        if on_host {
            return Ok((EmbeddingTable::Host(wte), head));
        }
        let weight = moss_kernels::LinearWeight::Dense(wte);
        let table = GpuLinear::load(self.gpu, &weight, None, &mut self.uploader, &mut self.scratch)
            .map_err(kernel)?;
        Ok((EmbeddingTable::Device(Box::new(table)), head))
    }
}
