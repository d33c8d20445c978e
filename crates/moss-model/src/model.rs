//! The whole network, wherever it runs.

use crate::{
    CacheShape, ComputeDtype, DeviceSpec, HiddenTap, LanguageModel, LoadEvent, LoadOptions, Logits,
    ModelError, MossConfig, SequenceChunk, WeightSource, cpu::CpuNetwork, gpu::GpuNetwork, plan::Plan,
    tap::Tap,
};

/// MOSS-moon-003 or any CodeGen network of its form, on one device.
#[derive(Debug)]
pub struct Moss {
    config: MossConfig,
    cache: CacheShape,
    dtype: ComputeDtype,
    network: Network,
}

#[derive(Debug)]
enum Network {
    Cpu(Box<CpuNetwork>),
    Gpu(Box<GpuNetwork>),
}

impl Moss {
    /// Places the weights of `source`. On the CPU mapped weights are used where they lie.
    ///
    /// # Errors
    /// [`ModelError::Config`] and [`ModelError::Checkpoint`] for what the files lack; [`ModelError::Kernel`] for what an op refuses;
    /// [`ModelError::Gpu`] and [`ModelError::DoesNotFit`] for a card that cannot take it.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let config = source.config()?;
        let network = match options.device {
            DeviceSpec::Cpu => Network::Cpu(Box::new(CpuNetwork::load(source, &config, options, progress)?)),
            DeviceSpec::Gpu { ordinal, newest_code } => {
                let gpu = (ordinal, newest_code);
                Network::Gpu(Box::new(GpuNetwork::load(source, &config, options, gpu, progress)?))
            }
        };
        Ok(Self { config, cache: options.cache, dtype: options.dtype, network })
    }

    /// Bytes a second that the memory of the model's device gives, measured now: read by the current rayon pool on the CPU, read and
    /// written by a copy on a GPU.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a card without room for the measurement.
    pub fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        match &self.network {
            Network::Cpu(_) => Ok(moss_kernels::read_bandwidth()),
            Network::Gpu(network) => network.copy_bandwidth(),
        }
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
        match &mut self.network {
            Network::Cpu(network) => network.forward(&plan, interrupted, &mut tap),
            Network::Gpu(network) => network.forward(&plan, interrupted, &mut tap),
        }
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
        match &self.network {
            Network::Cpu(network) => network.weight_bytes(),
            Network::Gpu(network) => network.weight_bytes(),
        }
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.config.cache_bytes_per_position(self.dtype.bytes())
    }
}
