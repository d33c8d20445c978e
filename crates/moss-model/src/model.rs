//! The whole network, wherever it runs.

use crate::{
    CacheShape, ComputeDtype, DeviceSpec, HiddenTap, LanguageModel, LoadEvent, LoadOptions, Logits,
    ModelError, MossConfig, SequenceChunk, StageInfo, StageSpan, WeightSource,
    hook::Hook,
    load,
    micro_batch::{MAX_BATCH_TOKENS, Plan},
    pipeline::Pipeline,
    stage::PlacedStage,
    timeline::Clock,
};

/// Prompt tokens of a step on the CPU: a larger one would delay the other sequences.
const CPU_PREFILL: usize = 256;

/// MOSS-moon-003 or any CodeGen network of its form, on one device or layer by layer over several.
#[derive(Debug)]
pub struct Moss {
    config: MossConfig,
    cache: CacheShape,
    dtype: ComputeDtype,
    pipeline: Pipeline,
}

impl Moss {
    /// Places the weights of `source`, all devices at the same time. On the CPU mapped weights are
    /// used where they lie.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::Checkpoint`] for what the files lack;
    /// [`ModelError::Kernel`] for what an op refuses; [`ModelError::Gpu`] and
    /// [`ModelError::Placement`] for a card that cannot take it, in a [`ModelError::Stage`] where
    /// there are several; [`ModelError::ActivationsNotExact`] and [`ModelError::ActivationsOffCpu`]
    /// for options that exclude each other.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        options.check()?;
        let config = source.config()?;
        progress(LoadEvent::Started {
            layers: config.num_layers,
        });
        let stages = load::stages(source, &config, options, progress)?;
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
            pipeline,
        })
    }

    /// Bytes a second that the memory of the model's device gives, measured now: read by the
    /// current rayon pool on the CPU, read and written by a copy on a GPU. Over several devices,
    /// the mean that a token sees: each weighs as much as the bytes that lie there.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a card without room for the measurement.
    pub fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        let (mut bytes, mut seconds) = (0.0, 0.0);
        for (_, stage) in &self.pipeline.stages {
            let rate = stage.memory_bandwidth()?;
            bytes += stage.weight_bytes() as f64;
            seconds += stage.weight_bytes() as f64 / rate;
        }
        Ok(bytes / seconds)
    }

    /// Bytes a second from page-locked host memory to the first card, measured now: what no loading
    /// can pass. `None` without a card.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a card without room for the measurement.
    pub fn upload_bandwidth(&self) -> Result<Option<f64>, ModelError> {
        for (_, stage) in &self.pipeline.stages {
            if let Some(rate) = stage.upload_bandwidth()? {
                return Ok(Some(rate));
            }
        }
        Ok(None)
    }

    /// The stages, in order.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a card that does not answer.
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

    /// The device of each stage.
    fn devices(&self) -> impl Iterator<Item = DeviceSpec> {
        self.pipeline.stages.iter().map(|(device, _)| *device)
    }

    /// As [`LanguageModel::forward`], and shows `hook` the hidden states on the way.
    ///
    /// # Errors
    /// As for [`LanguageModel::forward`].
    pub fn forward_traced(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
        hook: Option<&mut HiddenTap<'_>>,
    ) -> Result<Vec<Logits>, ModelError> {
        let plan = Plan::new(&self.config, self.cache, batch)?;
        let mut hook = Hook(hook);
        self.pipeline.forward(&plan, interrupted, &mut hook)
    }

    /// As [`LanguageModel::forward`], with the times at which each stage worked on each pass.
    ///
    /// # Errors
    /// As for [`LanguageModel::forward`].
    pub fn forward_timed(
        &mut self,
        batch: &[SequenceChunk<'_>],
    ) -> Result<(Vec<Logits>, Vec<StageSpan>), ModelError> {
        self.pipeline.clock = Some(Clock::new());
        let answers = self.forward(batch, &|| false);
        let clock = self.pipeline.clock.take();
        Ok((answers?, clock.map_or_else(Vec::new, |clock| clock.spans())))
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
        self.config.cache_bytes_per_position(self.dtype.bytes())
    }

    fn prefill_chunk(&self) -> usize {
        if self.devices().all(|device| device == DeviceSpec::Cpu) {
            return CPU_PREFILL;
        }
        // Pipeline stages work at the same time only on different passes of one step.
        MAX_BATCH_TOKENS * self.devices().count().min(4)
    }

    fn runs_on_cpu(&self) -> bool {
        self.devices().any(|device| device == DeviceSpec::Cpu)
    }
}
