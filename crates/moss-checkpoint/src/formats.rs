//! The storage formats of the linear layers. A checkpoint may mix several.

use std::cmp::Reverse;

use moss_weights::{
    GptqBits, GroupIndex, LinearKind,
    names::{LM_HEAD, split_layer},
};

use crate::{
    CheckpointError, DType, TensorInfo, Warning, ZeroPoints,
    error::Evidence,
    gptq_v2::off_centre,
    groups::{Groups, PackedLayer, legacy_size, resolve},
    linear::bits_of,
    manifest::Manifest,
    quantization::QuantizationConfig,
};

/// The quantization of linear layers, as their tensors show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// Bits of a weight.
    pub bits: GptqBits,
    /// Input features that share a scale.
    pub group_size: usize,
    /// Is true if the layers were quantized with act-order.
    pub act_order: bool,
    /// The convention of the stored zero points.
    pub zero_points: ZeroPoints,
}

/// The storage format of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearFormat {
    /// A matrix of this type.
    Dense(DType),
    /// Packed weights.
    Gptq(Quantization),
}

/// The formats of all linear layers.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    /// With the number of layers in each, most first.
    pub(crate) found: Vec<(LinearFormat, usize)>,
    pub(crate) warnings: Vec<Warning>,
}

/// The linear layers that a scan has seen.
#[derive(Default)]
struct Scan<'a> {
    dense: Vec<(DType, usize)>,
    packed: Vec<Packed>,
    first_dense: Option<&'a TensorInfo>,
    first_packed: Option<&'a TensorInfo>,
    /// The first warning of each kind, with the number of layers that it applies to.
    unused_groups: Option<Warning>,
    assumed_size: Option<Warning>,
    asymmetric: Option<Warning>,
}

/// A packed layer.
struct Packed {
    bits: GptqBits,
    group_size: usize,
    /// Is true if all inputs are in one group, from which no group size can be derived.
    is_one_group: bool,
    act_order: bool,
    in_features: usize,
}

/// Scans the linear layers of the blocks, and a packed `lm_head`: shapes, group indices, and the
/// zero points if they are declared symmetric.
pub(crate) fn scan(manifest: &Manifest) -> Result<Formats, CheckpointError> {
    let mut scan = Scan::default();
    // Iterates over tensors, because `n_layer` is unchecked if there are no layers.
    for info in manifest.tensors.infos() {
        let Some((stem, kind)) = info.name.rsplit_once('.') else {
            continue;
        };
        let is_fc_out = match linear_of(stem) {
            Some(Linear::Block(kind)) => kind == LinearKind::FcOut,
            Some(Linear::Head) if kind == "qweight" => false,
            _ => continue,
        };
        match kind {
            "weight" if !manifest.tensors.contains(&format!("{stem}.qweight")) => {
                scan.add_dense(info);
            }
            "qweight" => {
                let in_features = if is_fc_out {
                    manifest.config.inner().unwrap_or(0)
                } else {
                    manifest.config.hidden_size
                };
                scan.add_packed(manifest, info, stem, in_features)?;
            }
            _ => {}
        }
    }
    scan.finish(manifest)
}

enum Linear {
    Block(LinearKind),
    Head,
}

/// Returns the linear layer whose tensors have this stem.
fn linear_of(stem: &str) -> Option<Linear> {
    if stem == LM_HEAD {
        return Some(Linear::Head);
    }
    let (_, tail) = split_layer(stem)?;
    let is_kind = |kind: &LinearKind| kind.tail() == tail;
    LinearKind::ALL.into_iter().find(is_kind).map(Linear::Block)
}

impl<'a> Scan<'a> {
    fn add_dense(&mut self, info: &'a TensorInfo) {
        self.first_dense = self.first_dense.or(Some(info));
        let same = |entry: &&mut (DType, usize)| entry.0 == info.dtype;
        match self.dense.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => self.dense.push((info.dtype, 1)),
        }
    }

    fn add_packed(
        &mut self,
        manifest: &Manifest,
        qweight: &'a TensorInfo,
        stem: &'a str,
        in_features: usize,
    ) -> Result<(), CheckpointError> {
        let bits = bits_of(qweight, in_features)?;
        let Some(scales) = manifest.tensors.get(&format!("{stem}.scales")) else {
            return Ok(()); // reading the layer reports it
        };
        let layer = PackedLayer {
            stem,
            bits,
            in_features,
            groups: scales.shape.first().copied().unwrap_or(0),
        };
        let found = resolve(manifest, layer)?;
        manifest.tensors.release(&format!("{stem}.g_idx"));
        self.add_warnings(manifest, layer, &found);
        self.first_packed = self.first_packed.or(Some(qweight));
        self.packed.push(Packed {
            bits,
            group_size: found.size,
            is_one_group: layer.groups == 1,
            act_order: matches!(found.index, GroupIndex::Permuted(_)),
            in_features,
        });
        Ok(())
    }

    fn add_warnings(&mut self, manifest: &Manifest, layer: PackedLayer<'_>, found: &Groups) {
        let stem = layer.stem;
        if found.unused > 0 {
            let warning = Warning::UnusedGroups {
                name: format!("{stem}.g_idx"),
                unused: found.unused,
                groups: layer.groups,
                linears: 1,
            };
            count(&mut self.unused_groups, warning);
        }
        if found.is_assumed {
            let warning = Warning::GroupSizeAssumed {
                name: format!("{stem}.scales"),
                size: found.size,
                linears: 1,
            };
            count(&mut self.assumed_size, warning);
        }
        let declared = manifest.quantization.as_ref();
        if declared.is_some_and(|declared| declared.sym == Some(true))
            && let Some(warning) = asymmetry(manifest, stem, layer.bits)
        {
            count(&mut self.asymmetric, warning);
        }
    }

    fn finish(self, manifest: &Manifest) -> Result<Formats, CheckpointError> {
        if let Some(declared) = &manifest.quantization {
            self.check_bits(declared)?;
        }
        let mut found = gptq_formats(&self.packed, manifest.zero_points());
        found.extend(
            self.dense
                .iter()
                .map(|(dtype, count)| (LinearFormat::Dense(*dtype), *count)),
        );
        found.sort_by_key(|(_, count)| Reverse(*count));
        let legacy = self.legacy_size_warning(manifest);
        let warnings = [
            self.unused_groups,
            self.assumed_size,
            self.asymmetric,
            legacy,
        ];
        Ok(Formats {
            found,
            warnings: warnings.into_iter().flatten().collect(),
        })
    }

    /// Rejects declared bits that no layer has, and declared quantization of dense weights.
    fn check_bits(&self, declared: &QuantizationConfig) -> Result<(), CheckpointError> {
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
        match (self.first_packed, self.first_dense, declared.bits) {
            (Some(first), _, Some(bits)) if self.packed.iter().all(|layer| layer.bits != bits) => {
                let found = self.packed.first().map(|layer| layer.bits.to_string());
                mismatch("bits", bits.to_string(), first, found.unwrap_or_default())
            }
            (None, Some(dense), Some(bits)) => {
                mismatch("bits", bits.to_string(), dense, dense.dtype.to_string())
            }
            (None, Some(dense), None) => mismatch(
                "quant_method",
                "gptq".into(),
                dense,
                dense.dtype.to_string(),
            ),
            _ => Ok(()),
        }
    }

    /// Compares `groupsize` of config.json with the layers, unless a newer key states the size.
    fn legacy_size_warning(&self, manifest: &Manifest) -> Option<Warning> {
        let configured = manifest.config.groupsize?;
        let states_size =
            |declared: &QuantizationConfig| declared.group_size.is_some() || declared.has_overrides;
        if manifest.quantization.as_ref().is_some_and(states_size) {
            return None;
        }
        let is_invalid = configured == 0 || configured < -1;
        let disagrees = |layer: &&Packed| {
            is_invalid
                || legacy_size(manifest, layer.in_features).is_some_and(|size| {
                    size != layer.group_size && !(layer.is_one_group && size >= layer.in_features)
                })
        };
        let layer = self.packed.iter().find(disagrees)?;
        Some(Warning::GroupSize {
            config: configured,
            tensors: layer.group_size,
        })
    }
}

/// Keeps the first warning of a kind, and counts the linear layers with the same kind.
fn count(known: &mut Option<Warning>, found: Warning) {
    match known {
        Some(
            Warning::UnusedGroups { linears, .. }
            | Warning::GroupSizeAssumed { linears, .. }
            | Warning::Symmetry { linears, .. },
        ) => *linears += 1,
        known => *known = Some(found),
    }
}

/// Returns one entry per width and group size. A layer of one group shows no size and counts for
/// the first entry of its width.
fn gptq_formats(layers: &[Packed], zero_points: ZeroPoints) -> Vec<(LinearFormat, usize)> {
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
                let format = Quantization {
                    bits: layer.bits,
                    group_size: layer.group_size,
                    act_order: layer.act_order,
                    zero_points,
                };
                found.push((format, 1));
            }
        }
    }
    found
        .into_iter()
        .map(|(known, count)| (LinearFormat::Gptq(known), count))
        .collect()
}

/// Checks the zero points of a layer that is declared symmetric. Symmetric quantization has a
/// single zero point, so another one shows that the convention is wrong.
fn asymmetry(manifest: &Manifest, stem: &str, bits: GptqBits) -> Option<Warning> {
    let tensors = &manifest.tensors;
    let name = format!("{stem}.qzeros");
    let outputs = *tensors.get(&format!("{stem}.qweight"))?.shape.get(1)?;
    let info = tensors.get(&name)?;
    let words = outputs.div_ceil(bits.per_word());
    let format = manifest.zero_points();
    let middle = 1u32 << (bits.bits() - 1);
    let expected = match format {
        ZeroPoints::LessOne => middle - 1,
        ZeroPoints::Plain => middle,
    };
    if info.dtype != DType::I32 || info.shape.get(1) != Some(&words) || info.shape.len() != 2 {
        return None; // reading the layer reports it
    }
    let found = off_centre(bits, &tensors.tensor(&name).ok()?.data, outputs, expected)?;
    tensors.release(&name);
    Some(Warning::Symmetry {
        name,
        format: format.name(),
        expected,
        found,
        linears: 1,
    })
}
