//! Loads the reference: its devices, and the layers of each.

use candle_core::Device;
use moss_cpu::Activations;

use super::{
    Reference,
    block::{Block, Rotary},
    weights::{Backend, Linear, within},
};
use crate::{
    DeviceSpec, KvCacheType, LoadEvent, LoadOptions, ModelError, UnsupportedOption, WeightSource,
    names,
    placement::{self, DeviceKind, ModelBytes, Request, place},
    source::lm_head,
};

impl Reference {
    /// Is true in a build that can run the reference on NVIDIA GPUs.
    pub const CUDA: bool = cfg!(feature = "candle-cuda");

    /// Returns the default devices: the first GPU, or the CPU of a machine without one or of a build
    /// without [`Reference::CUDA`].
    ///
    /// # Errors
    /// [`ModelError::Gpu`] if the GPU driver does not start.
    pub fn available() -> Result<Vec<DeviceSpec>, ModelError> {
        if Self::CUDA {
            DeviceSpec::available(None)
        } else {
            Ok(vec![DeviceSpec::Cpu])
        }
    }

    /// Copies the weights of `source` to the devices, which get equal parts of the network unless
    /// [`LoadOptions::layers_per_device`] says otherwise. Free memory is not checked.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for an option that the reference does not have;
    /// [`ModelError::NoCandleCuda`] for a GPU in a build without the feature `candle-cuda`;
    /// [`ModelError::Placement`] for numbers of layers that are not those of the model;
    /// [`ModelError::Config`] and [`ModelError::Checkpoint`] for what the files lack.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        check(options)?;
        let (config, dtype) = (source.config()?, options.dtype.candle());
        let devices = options.devices.iter().map(|device| open(*device));
        let devices = devices.collect::<Result<Vec<_>, _>>()?;
        let placement = place(&Request {
            model: &ModelBytes::of(source, &config, options),
            devices: &options.devices.iter().map(describe).collect::<Vec<_>>(),
            layers_per_device: options.layers_per_device.as_deref(),
            other_formats: &[],
        })?;
        progress(LoadEvent::Started {
            layers: config.num_layers,
        });
        for note in placement.notes {
            let devices = options.devices.clone();
            progress(LoadEvent::Noted { note, devices });
        }
        let (weights, num_layers) = (Backend(source), config.num_layers);
        let mut blocks = Vec::with_capacity(num_layers);
        for stage in &placement.stages {
            let device = &devices[stage.device];
            let rotary = within(stage.layers.start, "rotary table", || {
                Ok(Rotary::new(&config, options.rope_precision, device)?)
            })?;
            for layer in stage.layers.clone() {
                blocks.push(within(layer, "load", || {
                    Block::load(&weights, layer, &config, &rotary, dtype, device)
                })?);
                let bytes = source.stored_bytes(&names::layer_prefix(layer), false);
                progress(LoadEvent::Layer { bytes });
            }
        }
        let first = &devices[placement.stages[0].device];
        let last = blocks.last().map_or(first, |block: &Block| &block.device);
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embedding = within(0, "embedding", || {
            let stem = names::EMBEDDING.trim_end_matches(".weight");
            let builder = weights.builder(dtype, first).pp(stem);
            Ok(candle_nn::embedding(vocab, hidden, builder)?)
        })?;
        let wte = source.matrix(names::EMBEDDING, vocab, hidden)?;
        let wte = wte.ok_or_else(|| source.missing(names::EMBEDDING))?;
        let head = lm_head(source, &config, &wte)?;
        // A token reads one row of the embedding, unless the matrix is lm_head's too.
        let unread = if config.tie_word_embeddings {
            0
        } else {
            source.stored_bytes(names::EMBEDDING, false)
        };
        let reference = Self {
            cache: options.cache,
            dtype: options.dtype,
            norm: within(num_layers, "norm", || {
                Ok(weights.norm(names::FINAL_NORM, &config, last)?)
            })?,
            head: within(num_layers, "head", || Linear::load(head, dtype, last))?,
            embedding,
            blocks,
            sequences: Vec::new(),
            weight_bytes: source.stored_bytes("", false) - unread,
            config,
        };
        progress(LoadEvent::Finished);
        Ok(reference)
    }
}

fn check(options: &LoadOptions) -> Result<(), ModelError> {
    let limits_code = |device: &DeviceSpec| match device {
        DeviceSpec::Gpu { newest_code, .. } => newest_code.is_some(),
        DeviceSpec::Cpu => false,
    };
    let option = if options.activations == Activations::Int8 {
        UnsupportedOption::Int8Activations
    } else if options.devices.iter().any(limits_code) {
        UnsupportedOption::GpuCode
    } else if options.kv_cache == KvCacheType::Int8 {
        UnsupportedOption::Int8Cache
    } else {
        return Ok(());
    };
    Err(ModelError::Unsupported { option })
}

fn open(device: DeviceSpec) -> Result<Device, ModelError> {
    match device {
        DeviceSpec::Cpu => Ok(Device::Cpu),
        #[cfg(feature = "candle-cuda")]
        DeviceSpec::Gpu { ordinal, .. } => {
            Device::new_cuda(ordinal).map_err(|error| ModelError::Gpu(error.into()))
        }
        #[cfg(not(feature = "candle-cuda"))]
        DeviceSpec::Gpu { .. } => Err(ModelError::NoCandleCuda { device }),
    }
}

/// Describes a device for the placement: all are equal, and candle does not know their free memory.
fn describe(device: &DeviceSpec) -> placement::Device {
    placement::Device {
        name: device.to_string(),
        kind: DeviceKind::Cpu,
        free: u64::MAX,
        bandwidth: 1e9,
    }
}
