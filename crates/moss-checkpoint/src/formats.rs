//! How the linear layers are stored: all in one way, or some in this and some in that.

use crate::{
    Checkpoint, CheckpointError, DType, GroupIndex, TensorInfo, Warning,
    contents::{HEAD, LINEARS},
    declared::{Declared, ZeroPoints},
    error::Evidence,
    groups::{legacy_size, resolve},
    linear::bits_of,
    zero_points::off_centre,
};

/// How a checkpoint's linears are quantised, as its tensors show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// Bits of a weight.
    pub bits: u32,
    /// Input features that share a scale.
    pub group_size: usize,
    /// Whether linears were quantised in order of activation.
    pub act_order: bool,
    /// How the file stores zero points.
    pub zero_points: ZeroPoints,
}

/// How some linear layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearFormat {
    /// A matrix of this type.
    Dense(DType),
    /// Packed weights.
    Gptq(Quantization),
}

/// What all linear layers show together.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    /// With the number of layers stored so, most first.
    pub(crate) found: Vec<(LinearFormat, usize)>,
    pub(crate) warnings: Vec<Warning>,
}

/// A packed layer.
struct Packed {
    bits: u32,
    group_size: usize,
    /// From which no group size can be derived.
    is_one_group: bool,
    act_order: bool,
    in_features: usize,
}

/// Looks at every linear layer of the blocks, and at a packed `lm_head`: shapes, the indices of
/// groups, and the zero points where they are said to be symmetric.
pub(crate) fn scan(checkpoint: &Checkpoint) -> Result<Formats, CheckpointError> {
    let config = checkpoint.config();
    let (hidden, inner) = (config.hidden_size, config.inner());
    let (mut dense, mut packed): (Vec<(DType, usize)>, Vec<Packed>) = (vec![], vec![]);
    let mut unused: Option<(String, usize, usize, usize)> = None;
    let mut first = None;
    let (mut assumed, mut asymmetric): (Option<Warning>, Option<Warning>) = (None, None);
    let is_symmetric = checkpoint
        .declared()
        .is_some_and(|declared| declared.sym == Some(true));
    let mut first_dense: Option<&TensorInfo> = None;
    // Names are looked up, not counted up to `n_layer`, which is unchecked where there are no
    // layers.
    let stems = checkpoint.tensor_infos().filter_map(|info| {
        let (stem, kind) = info.name.rsplit_once('.')?;
        if stem == HEAD {
            return (kind == "qweight").then_some((info, stem, HEAD, true));
        }
        let linear = LINEARS.iter().find(|(linear, _)| stem.ends_with(linear))?.0;
        let is_block = stem.starts_with("transformer.h.") && matches!(kind, "weight" | "qweight");
        is_block.then_some((info, stem, linear, kind == "qweight"))
    });
    for (info, stem, linear, is_packed) in stems {
        if !is_packed {
            if checkpoint.contains(&format!("{stem}.qweight")) {
                continue;
            }
            first_dense = first_dense.or(Some(info));
            match dense.iter_mut().find(|(dtype, _)| *dtype == info.dtype) {
                Some((_, count)) => *count += 1,
                None => dense.push((info.dtype, 1)),
            }
            continue;
        }
        let in_features = if linear == "mlp.fc_out" {
            inner.unwrap_or(0)
        } else {
            hidden
        };
        let bits = bits_of(info, in_features)?;
        let Ok(scales) = checkpoint.info(&format!("{stem}.scales")) else {
            continue;
        }; // told when it is read
        let groups = scales.shape.first().copied().unwrap_or(0);
        let found = resolve(checkpoint, stem, bits, in_features, groups)?;
        checkpoint.release(&format!("{stem}.g_idx"));
        if found.unused > 0 {
            let (.., count) =
                unused.get_or_insert((format!("{stem}.g_idx"), found.unused, groups, 0));
            *count += 1;
        }
        if found.is_assumed {
            let found = Warning::GroupSizeAssumed {
                name: scales.name.clone(),
                size: found.size,
                linears: 1,
            };
            add_linear(&mut assumed, Some(found));
        }
        if is_symmetric {
            add_linear(&mut asymmetric, symmetry(checkpoint, stem, bits));
        }
        first = first.or(Some(info));
        packed.push(Packed {
            bits,
            group_size: found.size,
            is_one_group: groups == 1,
            act_order: matches!(found.index, GroupIndex::Permuted(_)),
            in_features,
        });
    }
    let mut formats = Formats {
        found: gptq(&packed, checkpoint.zero_points()),
        warnings: vec![],
    };
    formats.found.extend(
        dense
            .into_iter()
            .map(|(dtype, count)| (LinearFormat::Dense(dtype), count)),
    );
    formats
        .found
        .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if let Some((name, unused, groups, linears)) = unused {
        formats.warnings.push(Warning::UnusedGroups {
            name,
            unused,
            groups,
            linears,
        });
    }
    formats
        .warnings
        .extend(assumed.into_iter().chain(asymmetric));
    let declared = checkpoint.declared();
    if let Some(declared) = declared {
        check_bits(declared, &packed, first, first_dense)?;
    }
    let has_size = |declared: &Declared| declared.group_size.is_some() || declared.has_overrides;
    if let Some(said) = config.groupsize
        && !declared.is_some_and(has_size)
    {
        let is_no_size = said == 0 || said < -1;
        let disagrees = |layer: &&Packed| {
            is_no_size
                || legacy_size(checkpoint, layer.in_features).is_some_and(|size| {
                    size != layer.group_size && !(layer.is_one_group && size >= layer.in_features)
                })
        };
        if let Some(layer) = packed.iter().find(disagrees) {
            formats.warnings.push(Warning::GroupSize {
                config: said,
                tensors: layer.group_size,
            });
        }
    }
    Ok(formats)
}

/// Keeps the first warning of a kind, and counts the linear layers with the same.
fn add_linear(known: &mut Option<Warning>, found: Option<Warning>) {
    match (known, found) {
        (
            Some(Warning::GroupSizeAssumed { linears, .. } | Warning::Symmetry { linears, .. }),
            Some(_),
        ) => *linears += 1,
        (known, Some(found)) => *known = Some(found),
        (_, None) => {}
    }
}

/// One entry a width and group size. Layers of one group say nothing of the size, and go with the
/// first of their width.
fn gptq(layers: &[Packed], zero_points: ZeroPoints) -> Vec<(LinearFormat, usize)> {
    let mut found: Vec<(Quantization, usize)> = Vec::new();
    let (one_group, others): (Vec<&Packed>, Vec<&Packed>) =
        layers.iter().partition(|layer| layer.is_one_group);
    for layer in others.into_iter().chain(one_group) {
        let fits = |known: &&mut (Quantization, usize)| {
            known.0.bits == layer.bits
                && (layer.is_one_group || known.0.group_size == layer.group_size)
        };
        match found.iter_mut().find(fits) {
            Some((known, count)) => {
                known.act_order |= layer.act_order;
                *count += 1;
            }
            None => {
                let (bits, group_size, act_order) = (layer.bits, layer.group_size, layer.act_order);
                found.push((
                    Quantization {
                        bits,
                        group_size,
                        act_order,
                        zero_points,
                    },
                    1,
                ));
            }
        }
    }
    found
        .into_iter()
        .map(|(known, count)| (LinearFormat::Gptq(known), count))
        .collect()
}

/// Refuses a width that no layer has, and packed weights that are not there.
fn check_bits(
    declared: &Declared,
    packed: &[Packed],
    first: Option<&TensorInfo>,
    first_dense: Option<&TensorInfo>,
) -> Result<(), CheckpointError> {
    let mismatch = |key, config: String, info: &TensorInfo, tensors: String| {
        Err(CheckpointError::ConfigMismatch {
            key,
            config_file: declared.file.clone(),
            config,
            name: info.name.clone(),
            file: info.file.clone(),
            tensors: Evidence::Value(tensors),
        })
    };
    match (first, first_dense, declared.bits) {
        (Some(first), _, Some(bits))
            if packed.iter().all(|layer| i64::from(layer.bits) != bits) =>
        {
            let found = packed.first().map_or(0, |layer| layer.bits);
            mismatch("bits", bits.to_string(), first, found.to_string())
        }
        (None, Some(dense), bits) => {
            let said = bits.map_or_else(|| "gptq".into(), |bits| bits.to_string());
            let key = if bits.is_some() {
                "bits"
            } else {
                "quant_method"
            };
            mismatch(key, said, dense, dense.dtype.to_string())
        }
        _ => Ok(()),
    }
}

/// Symmetric quantisation has one zero point, from which a wrong convention can be told.
fn symmetry(checkpoint: &Checkpoint, stem: &str, bits: u32) -> Option<Warning> {
    let name = format!("{stem}.qzeros");
    let outputs = *checkpoint
        .info(&format!("{stem}.qweight"))
        .ok()?
        .shape
        .get(1)?;
    let info = checkpoint.info(&name).ok()?;
    let words = outputs.div_ceil(32 / bits as usize);
    let format = checkpoint.zero_points();
    let expected = (1u32 << (bits - 1)) - if format == ZeroPoints::LessOne { 1 } else { 0 };
    if info.dtype != DType::I32 || info.shape.get(1) != Some(&words) || info.shape.len() != 2 {
        return None; // told when the layer is read
    }
    let found = off_centre(bits, &checkpoint.tensor(&name).ok()?, outputs, expected)?;
    checkpoint.release(&name);
    Some(Warning::Symmetry {
        name,
        format: format.name(),
        expected,
        found,
        linears: 1,
    })
}
