//! Quantizes the linear layers of a checkpoint to 4 or 8 bits, layer by layer, in the published
//! layout.
//!
//! GPTQ needs the inputs of each layer. The hidden states of the calibration texts pass through the
//! network one block at a time. Every block receives the output of the quantized blocks before it.
//! Within a block, `out_proj` and `fc_out` receive the output of the quantized `qkv_proj` and
//! `fc_in`.
//!
//! Memory on the device: the block's rounded weights in f32, half of the widest layer's Hessian
//! (`2 * in_features^2` bytes; three times that while `act_order` reorders it), and twice its
//! weights in f32. Memory on the host: the hidden states (`4 * tokens * hidden_size` bytes), and
//! twice the widest weights in f32.

use std::{collections::HashMap, path::Path};

use moss_checkpoint::{Checkpoint, Outline, plan_shards};
use moss_model::MossConfig;

use crate::{
    LinearReport, Method, QuantizeError, QuantizeEvent, QuantizeOptions,
    calibration::Calibration,
    device::Device,
    folder::NewFolder,
    layer_work::{Job, LayerWork},
    pack::Quantized,
    published::{config_json, layer_outlines, outside_layers},
    shards::Shards,
};

/// Quantizes the linear layers of the checkpoint in `source` into the new folder `target`. All other
/// tensors and files are copied.
///
/// `interrupted` is polled often. If it returns true, and after any other error, the unfinished
/// folder is removed.
///
/// # Errors
/// [`QuantizeError::AlreadyQuantized`]; [`QuantizeError::GroupSize`]; [`QuantizeError::NoSamples`];
/// [`QuantizeError::TooWide`]; [`QuantizeError::NotPositive`]; [`QuantizeError::OutOfMemory`];
/// [`moss_model::ModelError::Gpu`] for a GPU that does not exist; and as for [`crate::convert()`].
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
    // Check first, because quantization takes hours: every linear layer exists, and none has a bias
    // that would be lost.
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
    let written = write(
        &job,
        out,
        [&first, &last],
        &layers,
        calibration.as_mut(),
        progress,
    );
    match written.and_then(|reports| Ok((reports, config_json(&checkpoint, options)?))) {
        Err(error) => Err(folder.abandon(error)),
        Ok((reports, config)) => {
            folder.finish(&checkpoint, options.container, &shards, Some(config))?;
            progress(QuantizeEvent::Finished);
            Ok(reports)
        }
    }
}

/// Writes every tensor: copies those before and after the layers, and quantizes layer by layer.
fn write(
    job: &Job<'_>,
    mut out: Shards<'_>,
    [first, last]: [&[Outline]; 2],
    layers: &[Vec<Outline>],
    mut calibration: Option<&mut Calibration<'_>>,
    progress: &mut dyn FnMut(QuantizeEvent),
) -> Result<Vec<LinearReport>, QuantizeError> {
    let mut reports = Vec::new();
    first
        .iter()
        .try_for_each(|tensor| out.copy(job.checkpoint, tensor))?;
    for (layer, tensors) in layers.iter().enumerate() {
        let mut report = |report: LinearReport| {
            progress(QuantizeEvent::Linear(report.clone()));
            reports.push(report);
        };
        let made = LayerWork::new(job, layer, &mut report).run(calibration.as_deref_mut())?;
        for tensor in tensors {
            match made_tensor(&made, &tensor.name) {
                Some(bytes) => out.append(&bytes)?,
                None => out.copy(job.checkpoint, tensor)?,
            }
        }
        progress(QuantizeEvent::Layer { done: layer + 1 });
    }
    last.iter()
        .try_for_each(|tensor| out.copy(job.checkpoint, tensor))?;
    out.finish()?;
    Ok(reports)
}

fn check_group_size(options: &QuantizeOptions, in_features: usize) -> Result<(), QuantizeError> {
    let (bits, per_word) = (options.bits.bits() as u32, options.bits.per_word());
    let found = options.group_size.unwrap_or(in_features);
    // A packed word may not span two groups.
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

/// Returns the bytes of a tensor of a quantized linear layer; `None` for other tensors.
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
