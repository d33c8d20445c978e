//! A checkpoint's linear layers to 4 or 8 bits, layer by layer, in the published layout.
//!
//! GPTQ needs each layer's inputs. Hidden states of the calibration texts go through the network one block at a time, and every block
//! sees what the quantised ones before it give; within a block `out_proj` and `fc_out` see what the quantised `qkv_proj` and `fc_in` give.
//! Memory: one block, the hidden states (`tokens * hidden_size` f32), and of the widest layer twice its Hessian (`4 * in_features^2` bytes each).

use std::{collections::HashMap, path::Path};

use moss_checkpoint::{Checkpoint, Container, Outline, plan_shards};
use moss_kernels::GptqBits;
use moss_model::{Layer, LinearKind, MossConfig, embed};

use crate::{
    QuantizeError, Sample,
    factor::{Factor, Hessian},
    folder::NewFolder,
    gptq::{Layout, Packed, quantize_linear},
    overlay::Overlay,
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
/// [`QuantizeError::NotPositive`]; and as for [`crate::convert()`].
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
    let mut run = Run {
        config: &config,
        options,
        interrupted,
        source: Overlay { base: &checkpoint, bits: options.bits, made: HashMap::new() },
        hidden: vec![],
        positions: 0,
    };
    run.embed()?;
    let tokens = run.hidden.iter().map(|states| states.values.len() / config.hidden_size).sum();

    let mut folder = NewFolder::begin(target, None, options.container, &shards)?;
    let mut out = Shards::new(&mut folder, options.container, &shards);
    progress(QuantizeEvent::Started { layers: config.num_layers, tokens });
    first.iter().try_for_each(|tensor| out.copy(&checkpoint, tensor))?;
    let mut reports = Vec::new();
    for (layer, tensors) in layers.iter().enumerate() {
        run.quantize_layer(layer, &mut |report: LinearReport| {
            progress(QuantizeEvent::Linear(report.clone()));
            reports.push(report);
        })?;
        for tensor in tensors {
            match run.made(&tensor.name) {
                Some(bytes) => out.append(&bytes)?,
                None => out.copy(&checkpoint, tensor)?,
            }
        }
        run.source.made.clear();
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

/// Linears with the same input share its Hessian; those of the second stage see what the first one's give.
const STAGES: [&[&[LinearKind]]; 2] =
    [&[&[LinearKind::QkvProj, LinearKind::FcIn]], &[&[LinearKind::OutProj], &[LinearKind::FcOut]]];

/// A quantisation on its way through the layers.
struct Run<'a> {
    config: &'a MossConfig,
    options: &'a QuantizeOptions,
    interrupted: &'a dyn Fn() -> bool,
    source: Overlay<'a>,
    /// What enters the next layer, for each calibration sample.
    hidden: Vec<States>,
    /// Of the longest sample.
    positions: usize,
}

/// Hidden states of one sample, `[positions, hidden_size]`, from `start_pos` on. Before that it is the same as the sample before, as behind a
/// common instruction: those positions are run and count once, since the hundredth copy would only drown what differs.
struct States {
    values: Vec<f32>,
    start_pos: usize,
}

impl Run<'_> {
    fn embed(&mut self) -> Result<(), QuantizeError> {
        let Method::Gptq { samples, .. } = &self.options.method else { return Ok(()) };
        let mut before: &[u32] = &[];
        for ids in samples.iter().flat_map(|sample| sample.ids.chunks(self.config.context_length)) {
            let start_pos = ids.iter().zip(before).take_while(|(id, before)| id == before).count();
            if start_pos < ids.len() {
                self.hidden.push(States { values: embed(&self.source, &ids[start_pos..])?, start_pos });
                self.positions = self.positions.max(ids.len());
                before = ids;
            }
        }
        match self.hidden.is_empty() {
            true => Err(QuantizeError::NoSamples { what: "the calibration texts" }),
            false => Ok(()),
        }
    }

    fn quantize_layer(
        &mut self,
        layer: usize,
        report: &mut dyn FnMut(LinearReport),
    ) -> Result<(), QuantizeError> {
        for stage in STAGES {
            let hessians = self.hessians(layer, stage)?;
            for (same_input, hessian) in stage.iter().zip(hessians) {
                let factor = hessian.map(|hessian| self.factor(layer, same_input[0], hessian)).transpose()?;
                for kind in *same_input {
                    if (self.interrupted)() {
                        return Err(QuantizeError::Interrupted);
                    }
                    let stem = kind.stem(layer);
                    let packed = self.quantize_linear(*kind, &stem, factor.as_ref())?;
                    report(LinearReport {
                        linear: stem.clone(),
                        weight_error: packed.weight_error,
                        output_error: packed.output_error,
                    });
                    self.source.made.insert(stem, (self.group_size(*kind), packed));
                }
            }
        }
        if layer + 1 < self.config.num_layers {
            self.pass(layer, true, &mut |_, _| {})?;
        }
        Ok(())
    }

    /// The Hessian of each input of a stage, where there is calibration.
    fn hessians(
        &mut self,
        layer: usize,
        stage: &[&[LinearKind]],
    ) -> Result<Vec<Option<Hessian>>, QuantizeError> {
        if self.hidden.is_empty() {
            return Ok(stage.iter().map(|_| None).collect());
        }
        let new = |same_input: &&[LinearKind]| Hessian::new(same_input[0].extents(self.config).0);
        let mut hessians: Vec<Hessian> = stage.iter().map(new).collect();
        self.pass(layer, false, &mut |found, inputs| {
            if let Some(at) = stage.iter().position(|same_input| same_input[0] == found) {
                hessians[at].add(inputs);
            }
        })?;
        Ok(hessians.into_iter().map(Some).collect())
    }

    fn factor(&self, layer: usize, kind: LinearKind, hessian: Hessian) -> Result<Factor, QuantizeError> {
        let (act_order, dampening) = match self.options.method {
            Method::Gptq { act_order, dampening, .. } => (act_order, dampening),
            Method::Nearest => (false, 0.0),
        };
        let refused = || QuantizeError::NotPositive { linear: kind.stem(layer), dampening };
        Factor::new(hessian, act_order, dampening).ok_or_else(refused)
    }

    /// Runs every sample through the layer as it is by now; `keep` makes its output the next layer's input.
    fn pass(
        &mut self,
        layer: usize,
        keep: bool,
        see: &mut dyn FnMut(LinearKind, &[f32]),
    ) -> Result<(), QuantizeError> {
        if self.hidden.is_empty() {
            return Ok(());
        }
        let block = Layer::load(&self.source, self.config, layer, self.positions)?;
        for States { values, start_pos } in &mut self.hidden {
            if (self.interrupted)() {
                return Err(QuantizeError::Interrupted);
            }
            let entering = if keep { std::mem::take(values) } else { values.clone() };
            let leaving = block.forward(entering, *start_pos, see)?;
            if keep {
                *values = leaving;
            }
        }
        Ok(())
    }

    fn quantize_linear(
        &self,
        kind: LinearKind,
        stem: &str,
        factor: Option<&Factor>,
    ) -> Result<Packed, QuantizeError> {
        let (inputs, outputs, _) = kind.extents(self.config);
        let weight = self.source.base.tensor(&format!("{stem}.weight"))?;
        let wide = weight.expect_shape(&[outputs, inputs])?.to_f32()?;
        self.source.base.release(&weight.name);
        let layout = Layout { bits: self.options.bits.bits() as u32, group_size: self.group_size(kind) };
        let refused = || QuantizeError::TooWide { linear: stem.to_owned() };
        quantize_linear(&wide, inputs, factor, layout).ok_or_else(refused)
    }

    fn group_size(&self, kind: LinearKind) -> usize {
        let inputs = kind.extents(self.config).0;
        self.options.group_size.map_or(inputs, |size| size.min(inputs))
    }

    /// The bytes of a tensor that this layer's quantisation made.
    fn made(&self, name: &str) -> Option<Vec<u8>> {
        let (stem, tail) = name.rsplit_once('.')?;
        let (_, packed) = self.source.made.get(stem)?;
        Some(match tail {
            "qweight" => packed.qweight.clone(),
            "qzeros" => packed.qzeros.clone(),
            "scales" => packed.scales.clone(),
            "g_idx" => packed.g_idx.iter().flat_map(|group| group.to_le_bytes()).collect(),
            _ => return None,
        })
    }
}
