//! The stage: loading, micro-batches in and results out.
//!
//! The kind of a micro-batch's tokens selects the kernels. Generated tokens are computed by the
//! decode (GEMV) kernels, whose epilogues run in the same launch; a decode step is captured and then
//! launched as one CUDA graph, whose rows are padded to few sizes. Prompt tokens, even a single
//! one, are computed by the matrix products and the attention of prefill (GEMM). lm_head is computed
//! by the decode kernels for both.
//!
//! Only [`Stage::logits`], [`Stage::non_finite`], and [`Stage::output`] to the host wait for the
//! device.

use std::{collections::HashMap, ops::Range};

use candle_core::{Device, Tensor};
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{Gpu, Graph, KernelError, RopeOnGpu, StageTransfer};

use super::{
    OpenGpu,
    block::GpuBlock,
    check_network,
    head::{Head, copy_results},
    loader::EmbeddingTable,
    parallel_load::Parts,
    workspace::Workspace,
};
use crate::{
    ComputeDtype, DeviceInfo, HiddenPoint, LoadEvent, ModelError, MossConfig, TokenKind,
    decode_rows::head_rows,
    hook::Hook,
    micro_batch::{BatchOutput, MicroBatch},
    stage::{NonFinite, RunContext, Stage, StageInput, StageSpec},
};

/// Consecutive layers with their cache and buffers. The first stage has the embedding too, the last
/// one the head.
#[derive(Debug)]
pub(crate) struct GpuStage {
    pub(super) config: MossConfig,
    pub(super) layers: Range<usize>,
    pub(super) blocks: Vec<GpuBlock>,
    pub(super) embedding: Option<EmbeddingTable>,
    pub(super) head: Option<Head>,
    rope: RopeOnGpu,
    pub(super) workspace: Workspace,
    /// Most rows of a decode step, padding included.
    pub(super) decode_rows: usize,
    /// Decode steps by their number of rows; see [`captured_rows`](crate::decode_rows::captured_rows).
    pub(super) graphs: HashMap<usize, Graph>,
    /// Blocks of the cache that are mapped to memory.
    mapped_blocks: usize,
    /// Transfers from the previous stage, created at the first one.
    pub(super) transfer: Option<StageTransfer>,
    pub(super) peer_copies: bool,
    free_before: u64,
    /// The last field: it is dropped after the buffers.
    pub(super) gpu: Gpu,
}

impl GpuStage {
    pub(crate) fn load(
        open: OpenGpu,
        spec: StageSpec<'_>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let (config, options, layers) = (spec.config, spec.options, spec.plan.layers.clone());
        if options.dtype != ComputeDtype::F16 {
            return Err(ModelError::GpuDtype {
                found: options.dtype,
            });
        }
        check_network(config)?;
        let OpenGpu {
            gpu,
            free: free_before,
        } = open;
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        let Parts {
            embedding,
            head,
            blocks,
        } = spec.load(&gpu, progress)?;
        gpu.synchronize().map_err(at(layers.start, "load"))?;
        let rope = rope_on_gpu(&gpu, config, options.rope_precision)
            .map_err(at(layers.start, "rotary table"))?;
        let rows_from_host = matches!(embedding, Some(EmbeddingTable::Host(_)));
        let linears: Vec<_> = blocks.iter().map(GpuBlock::linears).collect();
        let workspace = Workspace::new(&gpu, config, &linears, rows_from_host, options)
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
            decode_rows: options.decode_rows(),
            graphs: HashMap::new(),
            mapped_blocks: 0,
            transfer: None,
            peer_copies: options.peer_copies,
            free_before,
            gpu,
        })
    }

    /// Enqueues the layers, on the input from [`GpuStage::receive`].
    fn compute(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        if let Some(rows) = self.step_rows(batch, hook) {
            return self.launch_decode_graph(batch, rows);
        }
        let n = batch.len();
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        if self.embedding.is_some() {
            self.embed(n, batch.index).map_err(at(0, "embedding"))?;
            self.show(HiddenPoint::Embedding, n, hook)?;
        }
        for layer in self.layers.clone() {
            let _span = tracing::trace_span!("block", layer, rows = n).entered();
            self.layer(layer, batch.index, n, batch.kind)
                .map_err(at(layer, "block"))?;
            self.show(HiddenPoint::Block(layer), n, hook)?;
        }
        Ok(())
    }

    /// Maps cache pages to memory as the conversations grow.
    fn map_cache_pages(&mut self, batch: &MicroBatch<'_, '_>) -> Result<(), ModelError> {
        let blocks = batch.sequences.iter().flat_map(|rows| rows.blocks);
        self.map_blocks(blocks.max().map_or(0, |last| *last as usize + 1))
    }

    /// Maps the first `wanted` blocks of the cache to memory.
    pub(super) fn map_blocks(&mut self, wanted: usize) -> Result<(), ModelError> {
        if wanted > self.mapped_blocks {
            for (layer, block) in self.layers.clone().zip(&mut self.blocks) {
                block
                    .ensure_mapped(&self.gpu, wanted)
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

    /// Enqueues `layer` for the `n` tokens of micro-batch `batch`, which are of `kind`.
    pub(super) fn layer(
        &self,
        layer: usize,
        batch: usize,
        n: usize,
        kind: TokenKind,
    ) -> Result<(), KernelError> {
        let check = self.workspace.non_finite.check(batch, layer);
        let block = &self.blocks[layer - self.layers.start];
        block.forward(&self.gpu, &self.workspace, &self.rope, n, kind, check)
    }

    /// Passes `n` tokens of the residual stream to the hook.
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
        let step_rows = self.step_rows(batch, context.hook);
        self.workspace.non_finite.fetched_by_graph = step_rows.is_some();
        self.workspace
            .put(batch, step_rows)
            .map_err(at(start, "inputs"))?;
        self.receive(batch, step_rows.unwrap_or(batch.len()), input)?;
        let Some([begin, finish]) = &context.span else {
            return self.compute(batch, context.hook);
        };
        self.gpu.record_time(begin).map_err(at(start, "timeline"))?;
        self.compute(batch, context.hook)?;
        self.gpu.record_time(finish).map_err(at(end, "timeline"))
    }

    fn output(&mut self, tokens: usize, on_device: bool) -> Result<StageInput<'_>, ModelError> {
        let (gpu, stream) = (&self.gpu, &self.workspace.stream);
        if on_device {
            return Ok(StageInput::Device { gpu, stream });
        }
        let (kernel, hidden) = (self.at_end("stage transfer"), self.config.hidden_size);
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
        let is_step = self.step_rows(batch, hook).is_some();
        let rows_at_once = head_rows(self.decode_rows);
        let in_order = n <= rows_at_once && batch.wanted.len() == n;
        let kernel = |op| move |source| ModelError::Kernel { layer, op, source };
        let Some(head) = &mut self.head else {
            return Err(ModelError::NoStageInput { layer });
        };
        if batch.requests.is_empty() {
            return self.fetch_non_finite();
        }
        for (run, requests) in batch.requests.chunks(rows_at_once).enumerate() {
            if !is_step {
                let rows = if in_order {
                    None
                } else {
                    let rows = self.workspace.wanted(n, run * rows_at_once, requests.len());
                    Some(rows.map_err(kernel("head"))?)
                };
                head.stage_requests(requests).map_err(kernel("sampling"))?;
                head.upload_requests(requests.len())
                    .and_then(|runs| self.gpu.batched_memcpy(&runs))
                    .map_err(kernel("sampling"))?;
                let check = self.workspace.non_finite.check(batch.index, layer + run);
                head.run(&self.gpu, &self.workspace, rows, requests.len(), check)
                    .map_err(kernel("head"))?;
                // Both copies are enqueued before the one wait.
                copy_results(&self.gpu, &mut self.workspace, Some(head), requests.len())
                    .map_err(kernel("sampling"))?;
            }
            head.collect(&self.gpu, requests, output)
                .map_err(kernel("logits"))?;
            if hook.0.is_some() {
                let normed = head
                    .normed(&self.gpu, &self.workspace, requests.len())
                    .map_err(kernel("head"))?;
                hook.show_values(HiddenPoint::FinalNorm, &normed);
            }
        }
        Ok(())
    }

    /// A CUDA graph contains the head, whose buffers only the next run of the head overwrites.
    fn keeps_results(&self, batch: &MicroBatch<'_, '_>, hook: &Hook<'_, '_>) -> bool {
        self.step_rows(batch, hook).is_some()
    }

    fn fetch_non_finite(&mut self) -> Result<(), ModelError> {
        let flag = &mut self.workspace.non_finite;
        if flag.fetched_by_graph {
            return Ok(());
        }
        let fetched = flag
            .memcpy()
            .and_then(|run| self.gpu.batched_memcpy(&[run]));
        fetched.map_err(self.at_end("finite check"))
    }

    fn non_finite(&self) -> Result<Option<NonFinite>, ModelError> {
        let flag = &self.workspace.non_finite;
        let found = flag.read().map_err(self.at_end("finite check"))?;
        // The runs of lm_head have the numbers of the layers after the last.
        Ok(found.map(|found| {
            let run = found.layer.saturating_sub(self.layers.end);
            NonFinite {
                layer: found.layer - run,
                row: found.row + run * head_rows(self.decode_rows),
                ..found
            }
        }))
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
