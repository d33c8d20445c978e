//! The stage: loading, micro-batches in and results out.
//!
//! Up to [`FEW_ROWS`] tokens the weights are read once, by kernels that do what comes before and
//! after in the same launch; a decode step is captured and then launched as one CUDA graph. More
//! tokens go through cuBLAS.
//!
//! Nothing here waits for the device but [`Stage::logits`], [`Stage::non_finite`], and
//! [`Stage::output`] to the host.

use std::{collections::HashMap, ops::Range};

use candle_core::{Device, Tensor};
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{FEW_ROWS, Gpu, Graph, KernelError, Link, RopeOnGpu};

use super::{
    MAX_LAYERS, OpenGpu, block::GpuBlock, decode_graph::copy_results, head::Head,
    loader::EmbeddingTable, parallel_load::Parts, workspace::Workspace,
};
use crate::{
    ComputeDtype, DeviceInfo, HiddenPoint, LoadEvent, ModelError, MossConfig, NetworkRule,
    hook::Hook,
    micro_batch::{BatchOutput, MAX_BATCH_TOKENS, MicroBatch},
    names,
    stage::{NonFinite, RunContext, Stage, StageInput, StageSpec},
};

/// Consecutive layers with their cache and buffers; the embedding too where they are the first, the
/// head where they are the last.
#[derive(Debug)]
pub(crate) struct GpuStage {
    config: MossConfig,
    pub(super) layers: Range<usize>,
    blocks: Vec<GpuBlock>,
    pub(super) embedding: Option<EmbeddingTable>,
    pub(super) head: Option<Head>,
    rope: RopeOnGpu,
    pub(super) workspace: Workspace,
    /// Decode steps by their number of sequences.
    pub(super) graphs: HashMap<usize, Graph>,
    pub(super) many_rows_from: usize,
    /// Blocks of the cache that are mapped to memory.
    mapped_blocks: usize,
    /// From the stage in front, once it has sent something.
    link: Option<Link>,
    peer_copies: bool,
    free_before: u64,
    /// After everything that lives on it.
    pub(super) gpu: Gpu,
}

impl GpuStage {
    pub(crate) fn load(
        open: OpenGpu,
        spec: StageSpec<'_>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let (config, options, layers) = (spec.config, spec.options, spec.layers.clone());
        if options.dtype != ComputeDtype::F16 {
            return Err(ModelError::GpuDtype {
                found: options.dtype,
            });
        }
        if config.num_layers > MAX_LAYERS {
            return Err(ModelError::Config {
                key: "n_layer",
                found: config.num_layers.to_string(),
                expected: NetworkRule::AtMostOnGpu(MAX_LAYERS),
            });
        }
        let OpenGpu {
            gpu,
            free: free_before,
        } = open;
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        // Before the weights are read: a missing library should not take minutes to report.
        let is_dense = |layer| spec.source.stored_bytes(&names::layer_prefix(layer), true) == 0;
        gpu.prepare_matmul(layers.clone().any(is_dense))
            .map_err(ModelError::Gpu)?;
        let Parts {
            embedding,
            head,
            blocks,
        } = spec.load(&gpu, progress)?;
        gpu.synchronize().map_err(at(layers.start, "load"))?;
        let rope = rope_on_gpu(&gpu, config, options.rope_precision)
            .map_err(at(layers.start, "rotary table"))?;
        let rows_from_host = matches!(embedding, Some(EmbeddingTable::Host(_)));
        let workspace = Workspace::new(&gpu, config, &blocks, rows_from_host)
            .map_err(at(layers.start, "workspace"))?;
        gpu.synchronize().map_err(at(layers.start, "workspace"))?;
        let info = gpu.info();
        tracing::info!(?layers, gpu = info.ordinal, code = %info.code, "stage placed");
        Ok(Self {
            config: config.clone(),
            layers,
            blocks,
            embedding,
            head,
            rope,
            workspace,
            graphs: HashMap::new(),
            many_rows_from: options
                .large_m_from
                .unwrap_or(FEW_ROWS + 1)
                .clamp(1, FEW_ROWS + 1),
            mapped_blocks: 0,
            link: None,
            peer_copies: options.peer_copies,
            free_before,
            gpu,
        })
    }

    /// Enqueues the layers, on the input that [`GpuStage::receive`] brought.
    fn compute(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        if self.is_decode_step(batch, hook) {
            return self.launch_decode_graph(batch);
        }
        let n = batch.len();
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        if self.embedding.is_some() {
            self.embed(n, batch.index).map_err(at(0, "embedding"))?;
            self.show(HiddenPoint::Embedding, n, hook)?;
        }
        for layer in self.layers.clone() {
            let _span = tracing::trace_span!("block", layer, rows = n).entered();
            self.layer(layer, batch.index, n)
                .map_err(at(layer, "block"))?;
            self.show(HiddenPoint::Block(layer), n, hook)?;
        }
        Ok(())
    }

    /// Maps cache pages to memory as the conversations grow.
    fn map_cache_pages(&mut self, batch: &MicroBatch<'_, '_>) -> Result<(), ModelError> {
        let blocks = batch.sequences.iter().flat_map(|rows| rows.blocks);
        let wanted = blocks.max().map_or(0, |last| *last as usize + 1);
        if wanted > self.mapped_blocks {
            for (layer, block) in self.layers.clone().zip(&mut self.blocks) {
                block
                    .hold(&self.gpu, wanted)
                    .map_err(|source| ModelError::Kernel {
                        layer,
                        op: "kv cache",
                        source,
                    })?;
            }
            self.mapped_blocks = wanted;
        }
        Ok(())
    }

    /// Brings the input of `batch` into the residual stream, and clears the report of non-finite
    /// values in the first micro-batch.
    fn receive(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        input: StageInput<'_>,
    ) -> Result<(), ModelError> {
        let layer = self.layers.start;
        let hand_over = |source| ModelError::Kernel {
            layer,
            op: "hand-over",
            source,
        };
        if let Some(embedding) = &self.embedding {
            return match embedding {
                EmbeddingTable::Host(table) => self
                    .workspace
                    .put_embedding(batch.token_ids(), table)
                    .map_err(|source| ModelError::Kernel {
                        layer,
                        op: "embedding",
                        source,
                    }),
                EmbeddingTable::Device(_) => Ok(()),
            };
        }
        if batch.index == 0 {
            self.workspace
                .non_finite
                .clear(&self.gpu)
                .map_err(hand_over)?;
        }
        match input {
            StageInput::TokenIds(_) => return Err(ModelError::NoStageInput { layer }),
            StageInput::Host(x) => self.workspace.put_stream(&x),
            StageInput::Device { gpu, stream } => {
                let link = match self.link.take() {
                    Some(link) => Ok(link),
                    None => {
                        let bytes = MAX_BATCH_TOKENS * self.config.hidden_size * size_of::<f32>();
                        let link = Link::new(gpu, &self.gpu, bytes, self.peer_copies);
                        link.inspect(|link| tracing::info!(layer, way = ?link.way(), "hand-over"))
                    }
                };
                let link = self.link.insert(link.map_err(hand_over)?);
                let to = (&self.gpu, &self.workspace.stream);
                link.copy((gpu, stream), to, batch.len() * self.config.hidden_size)
            }
        }
        .map_err(hand_over)
    }

    pub(super) fn embed(&self, n: usize, batch: usize) -> Result<(), KernelError> {
        let w = &self.workspace;
        let (table, ids) = match &self.embedding {
            Some(EmbeddingTable::Device(table)) => (table.dense_rows()?, w.ids(n)?),
            _ => (
                (w.embedding_rows()?.all(), self.config.hidden_size),
                w.row_numbers(n)?,
            ),
        };
        // The first micro-batch clears the report.
        let flag = (batch == 0).then_some(&w.non_finite.device);
        self.gpu
            .embedding(table, ids, self.config.hidden_size, n, &w.stream, flag)
    }

    pub(super) fn layer(&self, layer: usize, batch: usize, n: usize) -> Result<(), KernelError> {
        let watch = self.workspace.non_finite.check(batch, layer);
        let few = n < self.many_rows_from;
        let block = &self.blocks[layer - self.layers.start];
        block.forward(&self.gpu, &self.workspace, &self.rope, n, few, watch)
    }

    /// Shows the hook `n` rows of the residual stream.
    fn show(
        &self,
        point: HiddenPoint,
        n: usize,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        if hook.0.is_none() {
            return Ok(());
        }
        let values = self
            .gpu
            .download(&self.workspace.stream, n * self.config.hidden_size)
            .map_err(|source| ModelError::Kernel {
                layer: 0,
                op: "hidden state",
                source,
            })?;
        hook.show_values(point, &values);
        Ok(())
    }

    /// Returns a function that adds the last layer and `op` to an error of a kernel.
    fn at_end(&self, op: &'static str) -> impl Fn(KernelError) -> ModelError + use<> {
        let layer = self.layers.end;
        move |source| ModelError::Kernel { layer, op, source }
    }
}

impl Stage for GpuStage {
    fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    fn weight_bytes(&self) -> u64 {
        let head = self.head.as_ref().map_or(0, Head::weight_bytes);
        head + self.blocks.iter().map(GpuBlock::weight_bytes).sum::<u64>()
    }

    fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        self.gpu.copy_bandwidth().map_err(ModelError::Gpu)
    }

    fn upload_bandwidth(&self) -> Result<Option<f64>, ModelError> {
        self.gpu
            .upload_bandwidth()
            .map(Some)
            .map_err(ModelError::Gpu)
    }

    fn device_info(&self) -> Result<Option<DeviceInfo>, ModelError> {
        Ok(Some(DeviceInfo {
            gpu: self.gpu.info().clone(),
            free_before: self.free_before,
            free_now: self.gpu.free_memory().map_err(ModelError::Gpu)?,
        }))
    }

    fn is_gpu(&self) -> bool {
        true
    }

    fn run(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        input: StageInput<'_>,
        context: &mut RunContext<'_, '_, '_>,
    ) -> Result<(), ModelError> {
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        let (start, end) = (self.layers.start, self.layers.end);
        self.map_cache_pages(batch)?;
        let is_step = self.is_decode_step(batch, context.hook);
        self.workspace.non_finite.fetched_by_graph = is_step;
        self.workspace
            .put(batch, is_step)
            .map_err(at(start, "inputs"))?;
        self.receive(batch, input)?;
        let Some([begin, finish]) = &context.span else {
            return self.compute(batch, context.hook);
        };
        self.gpu.note(begin).map_err(at(start, "timeline"))?;
        self.compute(batch, context.hook)?;
        self.gpu.note(finish).map_err(at(end, "timeline"))
    }

    fn output(&mut self, tokens: usize, on_device: bool) -> Result<StageInput<'_>, ModelError> {
        let (gpu, stream) = (&self.gpu, &self.workspace.stream);
        if on_device {
            return Ok(StageInput::Device { gpu, stream });
        }
        let (kernel, hidden) = (self.at_end("hand-over"), self.config.hidden_size);
        let values = gpu.download(stream, tokens * hidden).map_err(&kernel)?;
        let x = Tensor::from_vec(values, (tokens, hidden), &Device::Cpu);
        x.map(StageInput::Host)
            .map_err(|error| kernel(error.into()))
    }

    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        let (n, layer) = (batch.len(), self.layers.end);
        let is_step = self.is_decode_step(batch, hook);
        let in_order = n <= FEW_ROWS && batch.wanted.len() == n;
        let kernel = |op| move |source| ModelError::Kernel { layer, op, source };
        let Some(head) = &mut self.head else {
            return Err(ModelError::NoStageInput { layer });
        };
        if batch.top_k.is_empty() {
            return self.fetch_non_finite();
        }
        let mut first = 0;
        for requests in batch.top_k.chunks(FEW_ROWS) {
            if !is_step {
                let rows = if in_order {
                    None
                } else {
                    let rows = self.workspace.wanted(n, first, requests.len());
                    Some(rows.map_err(kernel("head"))?)
                };
                head.stage_top_k(requests).map_err(kernel("sampling"))?;
                head.upload_top_k(requests.len())
                    .and_then(|runs| self.gpu.copy_runs(&runs))
                    .map_err(kernel("sampling"))?;
                let watch = self.workspace.non_finite.check(batch.index, layer);
                head.run(
                    &self.gpu,
                    &self.workspace.stream,
                    rows,
                    requests.len(),
                    watch,
                )
                .map_err(kernel("head"))?;
                // Both are on their way before the wait, so that there is one wait.
                copy_results(&self.gpu, &mut self.workspace, Some(head), requests.len())
                    .map_err(kernel("sampling"))?;
            }
            head.collect(requests, output).map_err(kernel("logits"))?;
            if hook.0.is_some() {
                let normed = head
                    .normed(&self.gpu, requests.len())
                    .map_err(kernel("head"))?;
                hook.show_values(HiddenPoint::FinalNorm, &normed);
            }
            first += requests.len();
        }
        Ok(())
    }

    fn fetch_non_finite(&mut self) -> Result<(), ModelError> {
        let flag = &mut self.workspace.non_finite;
        if flag.fetched_by_graph {
            return Ok(());
        }
        let fetched = flag.memcpy().and_then(|run| self.gpu.copy_runs(&[run]));
        fetched.map_err(self.at_end("finite check"))
    }

    fn non_finite(&self) -> Result<Option<NonFinite>, ModelError> {
        let flag = &self.workspace.non_finite;
        flag.read().map_err(self.at_end("finite check"))
    }
}

/// Computes the table of rotary angles on the host and uploads it.
fn rope_on_gpu(
    gpu: &Gpu,
    config: &MossConfig,
    precision: RopePrecision,
) -> Result<RopeOnGpu, KernelError> {
    let (lanes, positions) = (config.rotary_dim, config.context_length);
    let table = RopeTable::new(lanes, positions, precision, &Device::Cpu)?;
    RopeOnGpu::new(gpu, table.sin(), table.cos(), table.pairs())
}
