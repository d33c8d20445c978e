//! A checkpoint's linear layers to 4 or 8 bits, layer by layer, in the published layout.
//!
//! GPTQ needs each layer's inputs. Hidden states of the calibration texts go through the network
//! one block at a time, and every block sees what the quantised ones before it give; within a block
//! `out_proj` and `fc_out` see what the quantised `qkv_proj` and `fc_in` give.
//!
//! Memory on the device: the block's rounded weights in f32, half of the widest layer's Hessian
//! (`2 * in_features^2` bytes; with `act_order` three times that, for a moment), twice its weights
//! in f32. On the host: the hidden states (`4 * tokens * hidden_size` bytes), and twice the widest
//! weights in f32.

use std::{collections::HashMap, path::Path};

use moss_checkpoint::{Checkpoint, Container, Outline, WeightStorage, plan_shards};
use moss_model::{DeviceSpec, MossConfig};
use moss_weights::GptqBits;

use crate::{
    QuantizeError, Sample,
    calibration::Calibration,
    device::Device,
    folder::NewFolder,
    gptq::Quantized,
    layer_work::LayerWork,
    published::{config_json, layer_outlines, outside_layers},
    shards::Shards,
};

/// How weights are rounded.
#[derive(Debug, Clone)]
pub enum Method {
    /// Each to the nearest value: fast, needs no text.
    Nearest,
    /// So that the outputs on calibration text change least.
    Gptq {
        /// What the layers' inputs are taken from.
        samples: Vec<Sample>,
        /// Round the weights of the strongest inputs first: better, but inputs of a group then lie
        /// apart (`g_idx`).
        act_order: bool,
        /// Share of the Hessian's mean diagonal that is added to its diagonal; 0.01 in the paper.
        dampening: f64,
    },
}

/// How to quantise.
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Width of a weight.
    pub bits: GptqBits,
    /// Inputs that share a scale and a zero point; `None` for all of a layer. 128 in the published
    /// checkpoints.
    pub group_size: Option<usize>,
    /// How weights are rounded.
    pub method: Method,
    /// Where GPTQ multiplies; rounding, of either method, is the CPU's.
    pub device: DeviceSpec,
    /// The container to write.
    pub container: Container,
    /// Bytes of tensors in a shard at most; the published checkpoints are one file each.
    pub max_shard_bytes: u64,
    /// Where the weights of the source are while it runs.
    pub storage: WeightStorage,
    /// Replace a checkpoint that is in the target folder, once the new one is whole.
    pub replace: bool,
}

/// What rounding did to one linear layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinearReport {
    /// Stem of its names, such as `transformer.h.3.attn.qkv_proj`.
    pub linear: String,
    /// Squared error of the weights, as a share of their squares.
    pub weight_error: f64,
    /// Squared error of the outputs on the calibration inputs, as a share of their squares; GPTQ
    /// alone. Dampening counts as input.
    pub output_error: Option<f64>,
}

/// Progress. `Started`, then for each layer four `Linear` and one `Layer`, then `Finished` unless
/// an error is returned.
#[derive(Debug, Clone, PartialEq)]
pub enum QuantizeEvent {
    /// Sizes are known.
    Started {
        /// Layers to come.
        layers: usize,
        /// Calibration tokens.
        tokens: usize,
    },
    /// A linear layer was rounded.
    Linear(LinearReport),
    /// A layer is in the file.
    Layer {
        /// Layers in the file.
        done: usize,
    },
    /// The folder has its name.
    Finished,
}

/// Quantises the linear layers of the checkpoint in `source` into the new folder `target`; every
/// other tensor and file is copied.
///
/// `interrupted` is asked often. Once it says true, as after any other error, the unfinished folder
/// is removed.
///
/// # Errors
/// [`QuantizeError::AlreadyQuantized`]; [`QuantizeError::GroupSize`]; [`QuantizeError::NoSamples`];
/// [`QuantizeError::TooWide`]; [`QuantizeError::NotPositive`]; [`QuantizeError::OutOfMemory`];
/// [`moss_model::ModelError::Gpu`] for a card that is not there; and as for [`crate::convert()`].
pub fn quantize(
    source: &Path,
    target: &Path,
    options: &QuantizeOptions,
    interrupted: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(QuantizeEvent),
) -> Result<Vec<LinearReport>, QuantizeError> {
    let checkpoint = Checkpoint::open_with(source, options.storage)?;
    if let Some(found) = checkpoint.quantization() {
        return Err(QuantizeError::AlreadyQuantized {
            folder: source.to_owned(),
            bits: found.bits.bits() as u32,
        });
    }
    let config = MossConfig::try_from(checkpoint.config())?;
    let linears = config.block().linears();
    for (_, shape) in linears {
        check_group_size(options, shape.in_features)?;
    }
    // Before hours are spent: every linear layer is there, and none has a bias that would be lost.
    for (layer, (kind, shape)) in
        (0..config.num_layers).flat_map(|layer| linears.map(|linear| (layer, linear)))
    {
        checkpoint.linear(&kind.name(layer), shape)?;
    }
    let layers: Vec<Vec<Outline>> = (0..config.num_layers)
        .map(|layer| layer_outlines(&checkpoint, &config, layer, options))
        .collect();
    let (first, last) = outside_layers(&checkpoint);
    let all = first
        .iter()
        .chain(layers.iter().flatten())
        .chain(&last)
        .cloned()
        .collect();
    let shards = plan_shards(all, options.max_shard_bytes);
    let (device, mut calibration) = match &options.method {
        Method::Nearest => (Device::Cpu, None),
        Method::Gptq { samples, .. } => {
            let calibration = Calibration::embed(&checkpoint, &config, samples, interrupted)?;
            (Device::open(options.device)?, Some(calibration))
        }
    };

    let mut folder = NewFolder::begin(
        target,
        source,
        options.replace,
        None,
        options.container,
        &shards,
    )?;
    let tokens = calibration.as_ref().map_or(0, Calibration::tokens);
    progress(QuantizeEvent::Started {
        layers: config.num_layers,
        tokens,
    });
    let job = Job {
        checkpoint: &checkpoint,
        config: &config,
        options,
        device,
        interrupted,
    };
    let out = Shards::new(&mut folder, options.container, &shards);
    let written = job.write(
        out,
        [&first, &last],
        &layers,
        calibration.as_mut(),
        progress,
    );
    match written.and_then(|reports| Ok((reports, config_json(&checkpoint, options)?))) {
        Err(error) => Err(folder.given_up(error)),
        Ok((reports, config)) => {
            folder.finish(&checkpoint, options.container, &shards, Some(config))?;
            progress(QuantizeEvent::Finished);
            Ok(reports)
        }
    }
}

/// What all layers' work has in common.
pub(crate) struct Job<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) config: &'a MossConfig,
    pub(crate) options: &'a QuantizeOptions,
    pub(crate) device: Device,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
}

impl Job<'_> {
    /// Writes every tensor: those before and behind the layers as they are, and layer after layer
    /// as it is made.
    fn write(
        &self,
        mut out: Shards<'_>,
        [first, last]: [&[Outline]; 2],
        layers: &[Vec<Outline>],
        mut calibration: Option<&mut Calibration<'_>>,
        progress: &mut dyn FnMut(QuantizeEvent),
    ) -> Result<Vec<LinearReport>, QuantizeError> {
        let mut reports = Vec::new();
        first
            .iter()
            .try_for_each(|tensor| out.copy(self.checkpoint, tensor))?;
        for (layer, tensors) in layers.iter().enumerate() {
            let mut report = |report: LinearReport| {
                progress(QuantizeEvent::Linear(report.clone()));
                reports.push(report);
            };
            let made = LayerWork::new(self, layer, &mut report).run(calibration.as_deref_mut())?;
            for tensor in tensors {
                match made_tensor(&made, &tensor.name) {
                    Some(bytes) => out.append(&bytes)?,
                    None => out.copy(self.checkpoint, tensor)?,
                }
            }
            progress(QuantizeEvent::Layer { done: layer + 1 });
        }
        last.iter()
            .try_for_each(|tensor| out.copy(self.checkpoint, tensor))?;
        out.finish()?;
        Ok(reports)
    }
}

fn check_group_size(options: &QuantizeOptions, in_features: usize) -> Result<(), QuantizeError> {
    let (bits, per_word) = (options.bits.bits() as u32, options.bits.per_word());
    let found = options.group_size.unwrap_or(in_features);
    // Words of packed weights belong to one group each.
    if found == 0 || !found.is_multiple_of(per_word) || !in_features.is_multiple_of(per_word) {
        return Err(QuantizeError::GroupSize {
            found,
            in_features,
            bits,
            multiple: 32 / bits,
        });
    }
    Ok(())
}

/// The bytes of a tensor that a layer's quantisation made.
fn made_tensor(made: &HashMap<String, Quantized>, name: &str) -> Option<Vec<u8>> {
    let (stem, tail) = name.rsplit_once('.')?;
    let made = made.get(stem)?;
    Some(match tail {
        "qweight" => made.qweight.clone(),
        "qzeros" => made.qzeros.clone(),
        "scales" => made.scales.clone(),
        "g_idx" => made
            .g_idx
            .iter()
            .flat_map(|group| group.to_le_bytes())
            .collect(),
        _ => return None,
    })
}
