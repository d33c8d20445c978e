//! A checkpoint's linear layers to 4 or 8 bits, layer by layer, in the published layout.
//!
//! GPTQ needs each layer's inputs. Hidden states of the calibration texts go through the network one block at a time, and every block
//! sees what the quantised ones before it give; within a block `out_proj` and `fc_out` see what the quantised `qkv_proj` and `fc_in` give.
//!
//! Memory on the device: the block's rounded weights in f32, half of the widest layer's Hessian (`2 * in_features^2` bytes; with `act_order` as
//! much again as three halves, for a moment), twice its weights in f32. On the host: the hidden states (`4 * tokens * hidden_size` bytes), and twice
//! the widest weights in f32.

use std::{collections::HashMap, path::Path};

use candle_core::Tensor;
use moss_checkpoint::{Checkpoint, Container, Outline, plan_shards};
use moss_kernels::{GptqBits, KernelError};
use moss_model::{DeviceSpec, Layer, LinearKind, ModelError, MossConfig, TensorDevice};

use crate::{
    QuantizeError, Sample,
    calibration::{Calibration, Weights},
    factor::Factor,
    folder::NewFolder,
    gptq::{Quantized, gptq, nearest},
    hessian::Hessian,
    published::{config_json, layer_outlines, outside_layers},
    round::Layout,
    shards::Shards,
};

/// Columns of a Hessian that are factored together.
const PANEL: usize = 1024;

/// How weights are rounded.
#[derive(Debug, Clone)]
pub enum Method {
    /// Each to the nearest value: fast, needs no text.
    Nearest,
    /// So that the outputs on calibration text change least.
    Gptq {
        /// What the layers' inputs are taken from.
        samples: Vec<Sample>,
        /// Round the weights of the strongest inputs first: better, but inputs of a group then lie apart (`g_idx`).
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
    /// Inputs that share a scale and a zero point; `None` for all of a layer. 128 in the published checkpoints.
    pub group_size: Option<usize>,
    /// How weights are rounded.
    pub method: Method,
    /// Where GPTQ multiplies; rounding, of either method, is the CPU's.
    pub device: DeviceSpec,
    /// The container to write.
    pub container: Container,
    /// Bytes of tensors in a shard at most; the published checkpoints are one file each.
    pub max_shard_bytes: u64,
}

/// What rounding did to one linear layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinearReport {
    /// Stem of its names, such as `transformer.h.3.attn.qkv_proj`.
    pub linear: String,
    /// Squared error of the weights, as a share of their squares.
    pub weight_error: f64,
    /// Squared error of the outputs on the calibration inputs, as a share of their squares; GPTQ alone. Dampening counts as input.
    pub output_error: Option<f64>,
}

/// Progress. `Started`, then for each layer four `Linear` and one `Layer`, then `Finished` unless an error is returned.
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

/// Quantises the linear layers of the checkpoint in `source` into the new folder `target`; every other tensor and file is copied.
///
/// `interrupted` is asked often; once it says true nothing is kept.
///
/// # Errors
/// [`QuantizeError::AlreadyQuantized`]; [`QuantizeError::GroupSize`]; [`QuantizeError::NoSamples`]; [`QuantizeError::TooWide`];
/// [`QuantizeError::NotPositive`]; [`QuantizeError::OutOfMemory`]; [`ModelError::Gpu`] for a card that is not there; and as for
/// [`crate::convert()`].
pub fn quantize(
    source: &Path,
    target: &Path,
    options: &QuantizeOptions,
    interrupted: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(QuantizeEvent),
) -> Result<Vec<LinearReport>, QuantizeError> {
    let checkpoint = Checkpoint::open(source)?;
    if let Some(found) = checkpoint.quantization() {
        return Err(QuantizeError::AlreadyQuantized { folder: source.to_owned(), bits: found.bits });
    }
    let config = MossConfig::try_from(checkpoint.config())?;
    for kind in LinearKind::ALL {
        check_group_size(options, kind.extents(&config).0)?;
    }
    let layers: Vec<Vec<Outline>> =
        (0..config.num_layers).map(|layer| layer_outlines(&checkpoint, &config, layer, options)).collect();
    let (first, last) = outside_layers(&checkpoint);
    let all = first.iter().chain(layers.iter().flatten()).chain(&last).cloned().collect();
    let shards = plan_shards(all, options.max_shard_bytes);
    let (device, mut calibration) = match &options.method {
        Method::Nearest => (TensorDevice::open(DeviceSpec::Cpu)?, None),
        Method::Gptq { samples, .. } => {
            let calibration = Calibration::embed(&checkpoint, &config, samples, interrupted)?;
            (TensorDevice::open(options.device)?, Some(calibration))
        }
    };

    let mut folder = NewFolder::begin(target, None, options.container, &shards)?;
    let mut out = Shards::new(&mut folder, options.container, &shards);
    let tokens = calibration.as_ref().map_or(0, Calibration::tokens);
    progress(QuantizeEvent::Started { layers: config.num_layers, tokens });
    first.iter().try_for_each(|tensor| out.copy(&checkpoint, tensor))?;
    let mut reports = Vec::new();
    for (layer, tensors) in layers.iter().enumerate() {
        let mut report = |report: LinearReport| {
            progress(QuantizeEvent::Linear(report.clone()));
            reports.push(report);
        };
        let (checkpoint, config, device) = (&checkpoint, &config, &device);
        let mut work = LayerWork {
            layer,
            checkpoint,
            config,
            options,
            device,
            interrupted,
            report: &mut report,
            made: HashMap::new(),
        };
        work.run(calibration.as_mut())?;
        let made = work.made;
        for tensor in tensors {
            match made_tensor(&made, &tensor.name) {
                Some(bytes) => out.append(&bytes)?,
                None => out.copy(checkpoint, tensor)?,
            }
        }
        progress(QuantizeEvent::Layer { done: layer + 1 });
    }
    last.iter().try_for_each(|tensor| out.copy(&checkpoint, tensor))?;
    out.finish()?;
    folder.finish(&checkpoint, options.container, &shards, Some(config_json(&checkpoint, options)?))?;
    progress(QuantizeEvent::Finished);
    Ok(reports)
}

fn check_group_size(options: &QuantizeOptions, in_features: usize) -> Result<(), QuantizeError> {
    let (bits, per_word) = (options.bits.bits() as u32, options.bits.per_word());
    let found = options.group_size.unwrap_or(in_features);
    // Words of packed weights belong to one group each.
    if found == 0 || !found.is_multiple_of(per_word) || !in_features.is_multiple_of(per_word) {
        return Err(QuantizeError::GroupSize { found, in_features, bits });
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
        "g_idx" => made.g_idx.iter().flat_map(|group| group.to_le_bytes()).collect(),
        _ => return None,
    })
}

/// One layer's quantisation.
struct LayerWork<'a> {
    layer: usize,
    checkpoint: &'a Checkpoint,
    config: &'a MossConfig,
    options: &'a QuantizeOptions,
    device: &'a TensorDevice,
    interrupted: &'a dyn Fn() -> bool,
    report: &'a mut dyn FnMut(LinearReport),
    /// By stem.
    made: HashMap<String, Quantized>,
}

impl LayerWork<'_> {
    /// Makes all four linear layers, and brings the calibration to the next layer.
    fn run(&mut self, calibration: Option<&mut Calibration<'_>>) -> Result<(), QuantizeError> {
        match calibration {
            None => LinearKind::ALL.into_iter().try_for_each(|kind| self.nearest(kind)),
            Some(calibration) => self.gptq(calibration).map_err(|error| self.explained(error)),
        }
    }

    fn nearest(&mut self, kind: LinearKind) -> Result<(), QuantizeError> {
        let (weight, layout) = (self.weight(kind)?, self.layout(kind));
        let made = nearest(weight, kind.extents(self.config).0, layout);
        let made = made.ok_or_else(|| QuantizeError::TooWide { linear: kind.stem(self.layer) })?;
        self.note(kind, made);
        Ok(())
    }

    /// Linears with the same input share its Hessian.
    fn gptq(&mut self, calibration: &mut Calibration<'_>) -> Result<(), QuantizeError> {
        use LinearKind::{FcIn, FcOut, OutProj, QkvProj};
        let device = self.device.device();
        let mut layer = Layer::load(self.checkpoint, self.config, self.layer, calibration.positions, device)?;
        let mut normed = self.hessian(QkvProj)?;
        calibration.add_normed(&layer, &mut normed)?;
        let factor = self.factor(QkvProj, normed)?;
        let qkv_proj = self.rounded(QkvProj, &factor)?;
        let fc_in = self.rounded(FcIn, &factor)?;
        drop(factor);
        let [mut attended, mut activated] = [self.hessian(OutProj)?, self.hessian(FcOut)?];
        calibration.add_branches(&mut layer, [&qkv_proj, &fc_in], [&mut attended, &mut activated])?;
        let factor = self.factor(OutProj, attended)?;
        let out_proj = self.rounded(OutProj, &factor)?;
        let factor = self.factor(FcOut, activated)?;
        let fc_out = self.rounded(FcOut, &factor)?;
        drop(factor);
        if self.layer + 1 < self.config.num_layers {
            calibration.advance(&mut layer, &Weights { qkv_proj, fc_in, out_proj, fc_out })?;
        }
        Ok(())
    }

    fn hessian(&self, kind: LinearKind) -> Result<Hessian, QuantizeError> {
        let inputs = kind.extents(self.config).0;
        let block = self.layout(kind).block(inputs);
        let width = (PANEL / block).max(1) * block; // panels hold whole blocks
        Hessian::new(inputs, width, self.device.device()).map_err(|source| self.failed(source))
    }

    fn factor(&self, kind: LinearKind, hessian: Hessian) -> Result<Factor, QuantizeError> {
        let (act_order, dampening) = match self.options.method {
            Method::Gptq { act_order, dampening, .. } => (act_order, dampening),
            Method::Nearest => (false, 0.0),
        };
        let refused = || QuantizeError::NotPositive { linear: kind.stem(self.layer), dampening };
        let factor = Factor::new(hessian, act_order, dampening).map_err(|source| self.failed(source))?;
        factor.ok_or_else(refused)
    }

    /// Rounds a layer, and returns what it has become, `[inputs, outputs]`.
    fn rounded(&mut self, kind: LinearKind, factor: &Factor) -> Result<Tensor, QuantizeError> {
        let (weight, layout) = (self.weight(kind)?, self.layout(kind));
        let rounded = gptq(weight, factor, layout).map_err(|source| self.failed(source))?;
        let (made, weight) =
            rounded.ok_or_else(|| QuantizeError::TooWide { linear: kind.stem(self.layer) })?;
        self.note(kind, made);
        Ok(weight)
    }

    fn note(&mut self, kind: LinearKind, made: Quantized) {
        let linear = kind.stem(self.layer);
        let (weight_error, output_error) = (made.weight_error, made.output_error);
        self.made.insert(linear.clone(), made);
        (self.report)(LinearReport { linear, weight_error, output_error });
    }

    /// The weights as they were, `[outputs, inputs]` row-major.
    fn weight(&self, kind: LinearKind) -> Result<Vec<f32>, QuantizeError> {
        if (self.interrupted)() {
            return Err(QuantizeError::Interrupted);
        }
        let (inputs, outputs, _) = kind.extents(self.config);
        let weight = self.checkpoint.tensor(&(kind.stem(self.layer) + ".weight"))?;
        let wide = weight.expect_shape(&[outputs, inputs])?.to_f32()?;
        self.checkpoint.release(&weight.name);
        Ok(wide)
    }

    fn layout(&self, kind: LinearKind) -> Layout {
        let inputs = kind.extents(self.config).0;
        let group_size = self.options.group_size.map_or(inputs, |size| size.min(inputs));
        Layout { bits: self.options.bits.bits() as u32, group_size }
    }

    fn failed(&self, source: KernelError) -> QuantizeError {
        QuantizeError::Kernel { layer: self.layer, source }
    }

    /// Says so where a card is full.
    fn explained(&self, error: QuantizeError) -> QuantizeError {
        let full = match &error {
            QuantizeError::Kernel { source, .. }
            | QuantizeError::Model(ModelError::Kernel { source, .. }) => self.device.out_of_memory(source),
            _ => None,
        };
        match full {
            None => error,
            Some((free, total)) => {
                QuantizeError::OutOfMemory { layer: self.layer, device: self.device.spec(), free, total }
            }
        }
    }
}
