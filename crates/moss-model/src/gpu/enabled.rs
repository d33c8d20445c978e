//! Layers on one NVIDIA GPU: a handful of launches a layer over buffers that were all taken before
//! the first pass.
//!
//! Up to [`FEW_ROWS`] rows the weights are read once, by kernels that do what comes before and
//! after in the same launch; a step in which every sequence brings one row is recorded and then
//! started as one graph. More rows go through cuBLAS.
//!
//! Nothing here waits for the card but [`GpuStage::answer`], [`GpuStage::flag`] and
//! [`GpuStage::take_hidden`].

mod block;
mod head;
mod loader;
mod parts;
mod workspace;

use std::{collections::HashMap, ops::Range};

use candle_core::{Device, Tensor};
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{
    FEW_ROWS, Gpu, GpuInfo, Graph, KernelError, Link, RopeOnGpu, Watch, gpu_count, list_gpus,
};

use crate::{
    CardInfo, ComputeDtype, HiddenPoint, LoadEvent, ModelError, MossConfig,
    load::Wanted,
    names,
    pipeline::Before,
    placement::{Card, CardKind},
    plan::{Answers, MAX_ROWS, Pass},
    tap::Tap,
    timeline::Moment,
};

use block::GpuBlock;
use head::Head;
use loader::EmbeddingTable;
use parts::Parts;
use workspace::Workspace;

/// Whether this build has kernels for NVIDIA GPUs.
pub const CUDA: bool = true;

/// Sequences of a recorded step at most.
const MAX_STEP_ROWS: usize = 16;

/// Layers that a report of non-finite values can name, the head being one.
const MAX_LAYERS: usize = 254;

/// Returns whether this machine has a GPU to run on. A machine without an NVIDIA driver has none.
///
/// # Errors
/// [`ModelError::Gpu`] for a driver that does not start or is too old: a GPU may be there that it
/// does not show.
pub fn has_gpu() -> Result<bool, ModelError> {
    match gpu_count() {
        Err(KernelError::NoDriver) => Ok(false),
        count => Ok(count.map_err(ModelError::Gpu)? > 0),
    }
}

/// The GPUs of this machine, as a placement has to know them.
///
/// # Errors
/// [`ModelError::Gpu`] where there is no driver, or a build without kernels for GPUs.
pub fn machine_gpus() -> Result<Vec<Card>, ModelError> {
    let card = |(info, free): (GpuInfo, u64)| {
        let kind = CardKind::Gpu {
            ordinal: info.ordinal,
        };
        Card {
            bandwidth: info.bandwidth(),
            name: info.name,
            kind,
            free,
        }
    };
    Ok(list_gpus(None)
        .map_err(ModelError::Gpu)?
        .into_iter()
        .map(card)
        .collect())
}

/// A card that is open, before anything is on it.
#[derive(Debug)]
pub(crate) struct OpenGpu {
    gpu: Gpu,
    free: u64,
}

impl OpenGpu {
    pub(crate) fn new(ordinal: usize, newest_code: Option<u32>) -> Result<Self, ModelError> {
        let gpu = Gpu::open(ordinal, newest_code).map_err(ModelError::Gpu)?;
        let free = gpu.free_memory().map_err(ModelError::Gpu)?;
        Ok(Self { gpu, free })
    }

    /// What a placement has to know of it.
    pub(crate) fn card(&self) -> Card {
        let info = self.gpu.info();
        let kind = CardKind::Gpu {
            ordinal: info.ordinal,
        };
        Card {
            name: info.name.clone(),
            kind,
            free: self.free,
            bandwidth: info.bandwidth(),
        }
    }
}

/// Consecutive layers with their cache and buffers; the embedding too where they are the first, the
/// head where they are the last.
#[derive(Debug)]
pub(crate) struct GpuStage {
    config: MossConfig,
    layers: Range<usize>,
    blocks: Vec<GpuBlock>,
    embedding: Option<EmbeddingTable>,
    head: Option<Head>,
    rope: RopeOnGpu,
    workspace: Workspace,
    graphs: HashMap<usize, Graph>,
    many_rows_from: usize,
    /// Blocks of the cache that have memory.
    held_blocks: usize,
    /// Whether what the last pass reported comes by itself.
    flag_on_its_way: bool,
    /// To be noted at the beginning and the end of the next pass.
    moments: Option<[Moment; 2]>,
    /// From the stage in front, once it has handed something over.
    link: Option<Link>,
    peer_copies: bool,
    free_before: u64,
    /// After everything that lives on it.
    gpu: Gpu,
}

impl GpuStage {
    pub(crate) fn load(
        open: OpenGpu,
        wanted: Wanted<'_>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let (config, options, layers) = (wanted.config, wanted.options, wanted.layers.clone());
        if options.dtype != ComputeDtype::F16 {
            return Err(ModelError::GpuDtype {
                found: options.dtype,
            });
        }
        if config.num_layers > MAX_LAYERS {
            let (found, expected) = (
                config.num_layers.to_string(),
                format!("at most {MAX_LAYERS} on a GPU"),
            );
            return Err(ModelError::Config {
                key: "n_layer",
                found,
                expected,
            });
        }
        let OpenGpu {
            gpu,
            free: free_before,
        } = open;
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        // Before the weights are read: a missing library should not take minutes to report.
        let is_dense = |layer| {
            wanted
                .source
                .stored_bytes(&names::layer_prefix(layer), true)
                == 0
        };
        gpu.prepare_matmul(layers.clone().any(is_dense))
            .map_err(ModelError::Gpu)?;
        let Parts {
            embedding,
            head,
            blocks,
        } = wanted.load(&gpu, progress)?;
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
                .many_rows_from
                .unwrap_or(FEW_ROWS + 1)
                .clamp(1, FEW_ROWS + 1),
            held_blocks: 0,
            flag_on_its_way: false,
            moments: None,
            link: None,
            peer_copies: options.peer_copies,
            free_before,
            gpu,
        })
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        let head = self.head.as_ref().map_or(0, Head::weight_bytes);
        head + self.blocks.iter().map(GpuBlock::weight_bytes).sum::<u64>()
    }

    pub(crate) fn card(&self) -> Result<CardInfo, ModelError> {
        let info = self.gpu.info();
        Ok(CardInfo {
            name: info.name.clone(),
            code: info.code.to_string(),
            driver_cuda: info.driver_cuda,
            clock_khz: info.clock_khz,
            memory_clock_khz: info.memory_clock_khz,
            total_memory: info.total_memory,
            free_before: self.free_before,
            free_now: self.gpu.free_memory().map_err(ModelError::Gpu)?,
        })
    }

    pub(crate) fn copy_bandwidth(&self) -> Result<f64, ModelError> {
        self.gpu.copy_bandwidth().map_err(ModelError::Gpu)
    }

    pub(crate) fn upload_bandwidth(&self) -> Result<f64, ModelError> {
        self.gpu.upload_bandwidth().map_err(ModelError::Gpu)
    }

    pub(crate) fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// Has the next pass note when it begins and ends.
    pub(crate) fn note_next(&mut self, moments: [Moment; 2]) {
        self.moments = Some(moments);
    }

    /// Starts the rows of pass `number` of a forward.
    pub(crate) fn run(
        &mut self,
        pass: &Pass<'_, '_>,
        number: usize,
        before: Before<'_>,
        tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        self.hold(pass)?;
        let is_recorded = self.is_recorded(pass, number, tap);
        // A recorded step fetches its report by itself.
        self.flag_on_its_way = is_recorded;
        self.workspace
            .put(pass, is_recorded)
            .map_err(|source| ModelError::Kernel {
                layer: self.layers.start,
                op: "inputs",
                source,
            })?;
        self.receive(pass, number, before)?;
        let Some([begin, end]) = self.moments.take() else {
            return self.compute(pass, number, tap);
        };
        let failed = |source| ModelError::Kernel {
            layer: self.layers.start,
            op: "timeline",
            source,
        };
        self.gpu.note(&begin).map_err(failed)?;
        self.compute(pass, number, tap)?;
        let failed = |source| ModelError::Kernel {
            layer: self.layers.end,
            op: "timeline",
            source,
        };
        self.gpu.note(&end).map_err(failed)
    }

    /// Starts the layers, on what [`GpuStage::receive`] brought.
    fn compute(
        &mut self,
        pass: &Pass<'_, '_>,
        number: usize,
        tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        let n = pass.len();
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        // A step of single tokens is always the same work at other positions.
        if self.is_recorded(pass, number, tap) {
            if let Some(head) = &mut self.head {
                head.wish(&pass.cuts)
                    .map_err(at(self.layers.end, "sampling"))?;
            }
            if !self.graphs.contains_key(&n) {
                let graph = Graph::record(self.gpu.recorder(), || self.step(n));
                self.graphs
                    .insert(n, graph.map_err(at(self.layers.start, "record a step"))?);
            }
            if let Some(graph) = self.graphs.get_mut(&n) {
                graph
                    .launch()
                    .map_err(at(self.layers.start, "start a step"))?;
            }
            return Ok(());
        }
        if self.embedding.is_some() {
            self.embed(n, number).map_err(at(0, "embedding"))?;
            self.show(HiddenPoint::Embedding, n, tap)?;
        }
        for layer in self.layers.clone() {
            let _span = tracing::trace_span!("block", layer, rows = n).entered();
            self.layer(layer, number, n).map_err(at(layer, "block"))?;
            self.show(HiddenPoint::Block(layer), n, tap)?;
        }
        Ok(())
    }

    /// Takes memory for the cache as the conversations grow.
    fn hold(&mut self, pass: &Pass<'_, '_>) -> Result<(), ModelError> {
        let blocks = pass.sequences.iter().flat_map(|rows| rows.blocks);
        let wanted = blocks.max().map_or(0, |last| *last as usize + 1);
        if wanted > self.held_blocks {
            for (layer, block) in self.layers.clone().zip(&mut self.blocks) {
                block
                    .hold(&self.gpu, wanted)
                    .map_err(|source| ModelError::Kernel {
                        layer,
                        op: "kv cache",
                        source,
                    })?;
            }
            self.held_blocks = wanted;
        }
        Ok(())
    }

    /// Brings the hidden states of `pass` into the residual stream, and clears the report of
    /// non-finite values in the first pass.
    fn receive(
        &mut self,
        pass: &Pass<'_, '_>,
        number: usize,
        before: Before<'_>,
    ) -> Result<(), ModelError> {
        let (n, layer) = (pass.len(), self.layers.start);
        let hand_over = |source| ModelError::Kernel {
            layer,
            op: "hand-over",
            source,
        };
        if let Some(embedding) = &self.embedding {
            return match embedding {
                EmbeddingTable::Host(table) => self
                    .workspace
                    .put_embedding(pass.token_ids(), table)
                    .map_err(|source| ModelError::Kernel {
                        layer,
                        op: "embedding",
                        source,
                    }),
                EmbeddingTable::Device(_) => Ok(()),
            };
        }
        if number == 0 {
            self.gpu
                .set_bytes(&self.workspace.flag, 0xFF)
                .map_err(hand_over)?;
        }
        let len = n * self.config.hidden_size;
        match before {
            Before::Tokens => return Err(ModelError::NothingHandedOver { layer }),
            Before::Host(x) => self.workspace.put_stream(&x),
            Before::Gpu(from) => {
                let link = match self.link.take() {
                    Some(link) => Ok(link),
                    None => {
                        let bytes = MAX_ROWS * self.config.hidden_size * size_of::<f32>();
                        let link = Link::new(&from.gpu, &self.gpu, bytes, self.peer_copies);
                        link.inspect(|link| tracing::info!(layer, way = ?link.way(), "hand-over"))
                    }
                };
                let to = (&self.gpu, &self.workspace.stream);
                let link = self.link.insert(link.map_err(hand_over)?);
                link.copy((&from.gpu, &from.workspace.stream), to, len)
            }
        }
        .map_err(hand_over)
    }

    /// Adds what the head says of the wanted rows of `pass` to `answers`, after [`GpuStage::run`],
    /// and fetches what was reported. The host waits where any row is wanted.
    pub(crate) fn answer(
        &mut self,
        pass: &Pass<'_, '_>,
        number: usize,
        answers: &mut Answers,
        tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        let (n, layer) = (pass.len(), self.layers.end);
        let is_recorded = self.is_recorded(pass, number, tap);
        let in_order = n <= FEW_ROWS && pass.wanted.len() == n;
        let kernel = |op| move |source| ModelError::Kernel { layer, op, source };
        let Some(head) = &mut self.head else {
            return Err(ModelError::NothingHandedOver { layer });
        };
        if pass.cuts.is_empty() {
            return self.fetch_flag();
        }
        let mut first = 0;
        for cuts in pass.cuts.chunks(FEW_ROWS) {
            if !is_recorded {
                let rows = match in_order {
                    true => None,
                    false => Some(
                        self.workspace
                            .wanted(n, first, cuts.len())
                            .map_err(kernel("head"))?,
                    ),
                };
                head.wish(cuts).map_err(kernel("sampling"))?;
                head.wishes(cuts.len())
                    .and_then(|runs| self.gpu.copy_runs(&runs))
                    .map_err(kernel("sampling"))?;
                let watch = Watch {
                    flag: &self.workspace.flag,
                    layer: watched(number, layer),
                };
                head.run(&self.gpu, &self.workspace.stream, rows, cuts.len(), watch)
                    .map_err(kernel("head"))?;
                // Both are on their way before the wait, so that there is one wait.
                send_back(&self.gpu, &mut self.workspace, Some(head), cuts.len())
                    .map_err(kernel("sampling"))?;
            }
            head.collect(cuts, answers).map_err(kernel("logits"))?;
            if tap.0.is_some() {
                let normed = head.normed(&self.gpu, cuts.len()).map_err(kernel("head"))?;
                tap.show_values(HiddenPoint::FinalNorm, &normed);
            }
            first += cuts.len();
        }
        Ok(())
    }

    /// The hidden states that the last pass of `n` rows left, `[n, hidden]` f32, which the host
    /// waits for.
    pub(crate) fn take_hidden(&mut self, n: usize) -> Result<Tensor, ModelError> {
        let kernel = |source| ModelError::Kernel {
            layer: self.layers.end,
            op: "hand-over",
            source,
        };
        let hidden = self.config.hidden_size;
        let values = self
            .gpu
            .download(&self.workspace.stream, n * hidden)
            .map_err(kernel)?;
        Tensor::from_vec(values, (n, hidden), &Device::Cpu).map_err(|error| kernel(error.into()))
    }

    /// Starts fetching what the passes so far reported; [`GpuStage::answer`] has done so.
    pub(crate) fn fetch_flag(&mut self) -> Result<(), ModelError> {
        if self.flag_on_its_way {
            return Ok(());
        }
        let kernel = |source| ModelError::Kernel {
            layer: self.layers.end,
            op: "finite check",
            source,
        };
        self.workspace
            .report()
            .and_then(|run| self.gpu.copy_runs(&[run]))
            .map_err(kernel)
    }

    /// The first non-finite value, as the number of its pass, layer, row and value, once
    /// [`GpuStage::fetch_flag`] has it. A row of the head is counted among the wanted ones.
    pub(crate) fn flag(&self) -> Result<Option<(usize, usize, usize, f32)>, ModelError> {
        let kernel = |source| ModelError::Kernel {
            layer: self.layers.end,
            op: "finite check",
            source,
        };
        let flag = self.workspace.fetched_flag().map_err(kernel)?;
        let (pass, layer) = ((flag >> 56) as usize, (flag >> 48 & 0xFF) as usize);
        let row = (flag >> 32 & 0xFFFF) as usize;
        Ok((flag != u64::MAX).then_some((pass, layer, row, f32::from_bits(flag as u32))))
    }

    /// Whether `pass` is a step in which every sequence brings one row and wants an answer, with
    /// nobody looking in between. Only the first of a forward: a step begins by clearing the
    /// report, which may be of a pass before it.
    fn is_recorded(&self, pass: &Pass<'_, '_>, number: usize, tap: &Tap<'_, '_>) -> bool {
        let n = pass.len();
        let is_step = pass.wanted.len() == n && pass.sequences.len() == n && n <= MAX_STEP_ROWS;
        is_step && number == 0 && n < self.many_rows_from && tap.0.is_none()
    }

    /// Everything of a step of `n` sequences with a token each, from numbers in host memory to
    /// answers in host memory.
    fn step(&mut self, n: usize) -> Result<(), KernelError> {
        let mut runs = vec![self.workspace.step_numbers()?];
        if let Some(head) = &mut self.head {
            runs.extend(head.wishes(n)?);
        }
        self.gpu.copy_runs(&runs)?;
        if self.embedding.is_some() {
            self.embed(n, 0)?;
        }
        for layer in self.layers.clone() {
            self.layer(layer, 0, n)?;
        }
        if let Some(head) = &mut self.head {
            let watch = Watch {
                flag: &self.workspace.flag,
                layer: self.layers.end,
            };
            head.run(&self.gpu, &self.workspace.stream, None, n, watch)?;
        }
        send_back(&self.gpu, &mut self.workspace, self.head.as_mut(), n)
    }

    fn embed(&self, n: usize, number: usize) -> Result<(), KernelError> {
        let w = &self.workspace;
        let (table, ids) = match &self.embedding {
            Some(EmbeddingTable::Device(table)) => (table.dense_rows()?, w.ids(n)?),
            _ => (
                (w.embedding_rows()?.all(), self.config.hidden_size),
                w.row_numbers(n)?,
            ),
        };
        let flag = (number == 0).then_some(&w.flag);
        self.gpu
            .embedding(table, ids, self.config.hidden_size, n, &w.stream, flag)
    }

    fn layer(&self, layer: usize, number: usize, n: usize) -> Result<(), KernelError> {
        let watch = Watch {
            flag: &self.workspace.flag,
            layer: watched(number, layer),
        };
        let few = n < self.many_rows_from;
        let block = &self.blocks[layer - self.layers.start];
        block.forward(&self.gpu, &self.workspace, &self.rope, n, few, watch)
    }

    fn show(&self, point: HiddenPoint, n: usize, tap: &mut Tap<'_, '_>) -> Result<(), ModelError> {
        if tap.0.is_none() {
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
        tap.show_values(point, &values);
        Ok(())
    }
}

/// Starts fetching the report of non-finite values and, of a head, the candidates of `n` rows, in
/// one launch. Can be recorded.
fn send_back(
    gpu: &Gpu,
    workspace: &mut Workspace,
    head: Option<&mut Head>,
    n: usize,
) -> Result<(), KernelError> {
    let candidates = head.map_or(Ok(None), |head| head.candidates(n))?;
    let runs: Vec<_> = candidates
        .into_iter()
        .chain([workspace.report()?])
        .collect();
    gpu.copy_runs(&runs)
}

/// The table of angles, computed on the host.
fn rope_on_gpu(
    gpu: &Gpu,
    config: &MossConfig,
    precision: RopePrecision,
) -> Result<RopeOnGpu, KernelError> {
    let (lanes, positions) = (config.rotary_dim, config.context_length);
    let table = RopeTable::new(lanes, positions, precision, &Device::Cpu)?;
    RopeOnGpu::new(gpu, table.sin(), table.cos(), table.pairs())
}

/// Pass and layer in the sixteen bits that a report has for them: the earliest pass is reported
/// first.
fn watched(number: usize, layer: usize) -> usize {
    (number & 0xFF) << 8 | layer & 0xFF
}
