//! The complete network, on any devices.

use crate::{
    BlockFormat, CacheShape, ComputeDtype, DeviceSpec, HiddenTap, KvCacheType, LanguageModel,
    LoadEvent, LoadOptions, Logits, ModelError, MossConfig, SequenceChunk, StageInfo, StageSpan,
    WeightSource,
    hook::{HiddenStates, Hook},
    load,
    micro_batch::{MAX_BATCH_TOKENS, Plan},
    pipeline::Pipeline,
    stage::PlacedStage,
    stored_blocks::Rounding,
    timeline::Clock,
};

/// Prompt tokens per forward batch on the CPU. Larger chunks would delay other sequences.
const CPU_PREFILL: usize = 256;

/// Prompt tokens that take about as long as one. CPU: a pass over dense weights multiplies up to four
/// rows at the bandwidth of memory. GPU: on an H200, 16 tokens take 4.2 ms in int4 and 8.4 in fp16, 64
/// take 5.8 and 9.0, 128 take 8.4 and 10.8.
const CPU_TILE: usize = 4;
const GPU_TILE: usize = 64;

/// MOSS-moon-003, or a CodeGen network of the same form, on one or several devices.
#[derive(Debug)]
pub struct Moss {
    config: MossConfig,
    cache: CacheShape,
    dtype: ComputeDtype,
    kv_cache: KvCacheType,
    rounding: Rounding,
    /// Most generated tokens of a micro-batch.
    decode_rows: usize,
    pipeline: Pipeline,
}

impl Moss {
    /// Loads the weights of `source` on all devices in parallel. On the CPU, memory-mapped weights are
    /// used in place.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::Checkpoint`] for invalid or incomplete files;
    /// [`ModelError::Kernel`] for weights that an operation does not support; [`ModelError::Gpu`] for
    /// a GPU that cannot be used, and [`ModelError::Placement`] for too little memory, in a
    /// [`ModelError::Stage`] if there are several stages; [`ModelError::ActivationsNotExact`] and
    /// [`ModelError::ActivationsOffCpu`] for options that exclude each other.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        options.check()?;
        let mut options = options.clone();
        let config = source.config()?;
        progress(LoadEvent::Started {
            layers: config.num_layers,
        });
        let stages = load::stages(source, &config, &mut options, progress)?;
        progress(LoadEvent::Finished);
        let pipeline = Pipeline {
            stages,
            vocab_size: config.vocab_size,
            clock: None,
        };
        Ok(Self {
            config,
            cache: options.cache,
            dtype: options.dtype,
            kv_cache: options.kv_cache,
            rounding: (&options).into(),
            decode_rows: options.decode_rows(),
            pipeline,
        })
    }

    /// Measures the memory bandwidth, in bytes per second: reads of the current rayon pool on the CPU,
    /// reads plus writes of a copy on a GPU. For several devices, returns the harmonic mean, weighted
    /// by the bytes of weights.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a GPU without memory for the measurement.
    pub fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        let (mut bytes, mut seconds) = (0.0, 0.0);
        for (_, stage) in &self.pipeline.stages {
            let rate = stage.memory_bandwidth()?;
            bytes += stage.weight_bytes() as f64;
            seconds += stage.weight_bytes() as f64 / rate;
        }
        Ok(bytes / seconds)
    }

    /// Measures the bandwidth from pinned host memory to the first GPU, in bytes per second: the upper
    /// bound of the load rate. `None` without a GPU.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a GPU without memory for the measurement.
    pub fn upload_bandwidth(&self) -> Result<Option<f64>, ModelError> {
        for (_, stage) in &self.pipeline.stages {
            if let Some(rate) = stage.upload_bandwidth()? {
                return Ok(Some(rate));
            }
        }
        Ok(None)
    }

    /// Describes the stages, in order.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a GPU that does not respond.
    pub fn stages(&self) -> Result<Vec<StageInfo>, ModelError> {
        let info = |(device, stage): &PlacedStage| {
            Ok(StageInfo {
                device: *device,
                layers: stage.layers(),
                weight_bytes: stage.weight_bytes(),
                gpu: stage.device_info()?,
            })
        };
        self.pipeline.stages.iter().map(info).collect()
    }

    /// Returns the device of each stage.
    fn devices(&self) -> impl Iterator<Item = DeviceSpec> {
        self.pipeline.stages.iter().map(|(device, _)| *device)
    }

    /// As [`LanguageModel::forward`]; calls `hook` with the hidden states after the pass: once per
    /// point, with all its tokens in the order of the chunks.
    ///
    /// # Errors
    /// As for [`LanguageModel::forward`].
    pub fn forward_traced(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
        hook: Option<&mut HiddenTap<'_>>,
    ) -> Result<Vec<Logits>, ModelError> {
        let plan = Plan::new(&self.config, self.cache, self.decode_rows, batch)?;
        let Some(hook) = hook else {
            return self.pipeline.forward(&plan, interrupted, &mut Hook(None));
        };
        let mut states = HiddenStates::default();
        let mut collect = |point, values: &[f32]| states.add(point, values);
        let mut collecting = Hook(Some(&mut collect));
        let logits = self.pipeline.forward(&plan, interrupted, &mut collecting)?;
        states.show(&plan, hook);
        Ok(logits)
    }

    /// As [`LanguageModel::forward`]; also returns the times of each stage and micro-batch.
    ///
    /// # Errors
    /// As for [`LanguageModel::forward`].
    pub fn forward_timed(
        &mut self,
        batch: &[SequenceChunk<'_>],
    ) -> Result<(Vec<Logits>, Vec<StageSpan>), ModelError> {
        self.pipeline.clock = Some(Clock::new());
        let logits = self.forward(batch, &|| false);
        let clock = self.pipeline.clock.take();
        Ok((logits?, clock.map_or_else(Vec::new, |clock| clock.spans())))
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
        self.pipeline
            .stages
            .iter()
            .map(|(_, stage)| stage.weight_bytes())
            .sum()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.config.kv_cache_bytes(self.kv_cache, self.dtype)
    }

    fn prefill_chunk(&self) -> usize {
        if self.devices().all(|device| device == DeviceSpec::Cpu) {
            return CPU_PREFILL;
        }
        // Stages run in parallel only on different micro-batches of one forward batch.
        MAX_BATCH_TOKENS * self.devices().count().min(4)
    }

    fn prefill_tile(&self) -> usize {
        if self.runs_on_cpu() {
            CPU_TILE
        } else {
            GPU_TILE
        }
    }

    fn decode_rows(&self) -> usize {
        self.decode_rows
    }

    fn block_format(&self) -> Option<BlockFormat> {
        let positions = self.cache.block_size;
        Some(self.pipeline.block_format(positions, self.rounding))
    }

    fn read_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), ModelError> {
        self.pipeline.read_block(block, out)
    }

    fn write_block(&mut self, block: u32, bytes: &[u8]) -> Result<(), ModelError> {
        self.pipeline.write_block(block, bytes)
    }

    fn runs_on_cpu(&self) -> bool {
        self.devices().any(|device| device == DeviceSpec::Cpu)
    }
}
