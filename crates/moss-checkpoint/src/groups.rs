//! The groups of a packed weight: the inputs that share a scale. Shapes, group index and
//! configuration have to agree on them.

use moss_weights::{GptqBits, GroupIndex, PUBLISHED_GROUP_SIZE};

use crate::{
    CheckpointError, Tensor, error::Evidence, manifest::Manifest, quantization::QuantizationConfig,
};

/// The groups of one layer.
pub(crate) struct Groups {
    /// Inputs of a group; the last one may have fewer.
    pub(crate) size: usize,
    pub(crate) index: GroupIndex,
    /// Groups without inputs.
    pub(crate) unused: usize,
    /// Is true if several sizes fit, and neither a file nor an index states which one is right.
    pub(crate) is_assumed: bool,
}

impl Groups {
    fn sequential(size: usize, is_assumed: bool) -> Self {
        Self {
            size,
            index: GroupIndex::Sequential,
            unused: 0,
            is_assumed,
        }
    }
}

/// A packed layer, as its shapes show it.
#[derive(Clone, Copy)]
pub(crate) struct PackedLayer<'a> {
    /// The names of its tensors without their last part.
    pub(crate) stem: &'a str,
    pub(crate) bits: GptqBits,
    pub(crate) in_features: usize,
    /// Rows of its scales.
    pub(crate) groups: usize,
}

/// Returns the groups of a packed layer.
pub(crate) fn resolve(
    manifest: &Manifest,
    layer: PackedLayer<'_>,
) -> Result<Groups, CheckpointError> {
    let resolver = Resolver::new(manifest, layer);
    if layer.in_features == 0 || layer.groups == 0 {
        return Err(resolver.no_size());
    }
    if let (Some(strict), Some(size)) = (resolver.strict, resolver.declared)
        && !resolver.fits(size)
    {
        return Err(resolver.contradicts_declared(strict, resolver.group_evidence()));
    }
    let name = format!("{}.g_idx", layer.stem);
    if manifest.tensors.contains(&name) {
        resolver.with_index(&manifest.tensors.tensor(&name)?)
    } else {
        resolver.without_index(&name)
    }
}

/// Returns the `groupsize` of config.json for a layer of `in_features` inputs. Upstream's class
/// writes its default even if `wbits` says that nothing is quantized. Such a value is ignored if
/// `group_size` is declared.
pub(crate) fn legacy_size(manifest: &Manifest, in_features: usize) -> Option<usize> {
    let config = &manifest.config;
    let size = config.groupsize.filter(|size| *size == -1 || *size > 0)?;
    let is_declared = manifest
        .quantization
        .as_ref()
        .is_some_and(|declared| declared.group_size.is_some());
    let is_valid = config.is_quantized() || !is_declared;
    is_valid.then(|| usize::try_from(size).unwrap_or(in_features))
}

/// The sources of a layer's group size.
struct Resolver<'a> {
    manifest: &'a Manifest,
    layer: PackedLayer<'a>,
    /// The declared settings, if they apply to every layer: with overrides, the layer's are
    /// unknown.
    strict: Option<&'a QuantizationConfig>,
    /// The size that `strict` declares.
    declared: Option<usize>,
    legacy: Option<usize>,
    /// The first size in the configuration files that fits the shapes.
    stated: Option<usize>,
}

impl<'a> Resolver<'a> {
    fn new(manifest: &'a Manifest, layer: PackedLayer<'a>) -> Self {
        let quantization = manifest.quantization.as_ref();
        let strict = quantization.filter(|declared| !declared.has_overrides);
        let size = |from: Option<&QuantizationConfig>| from?.group_size(layer.in_features);
        let legacy = legacy_size(manifest, layer.in_features);
        let mut resolver = Self {
            manifest,
            layer,
            strict,
            declared: size(strict),
            legacy,
            stated: None,
        };
        resolver.stated = [size(quantization), legacy]
            .into_iter()
            .flatten()
            .find(|size| resolver.fits(*size));
        resolver
    }

    fn fits(&self, size: usize) -> bool {
        size > 0 && self.layer.in_features.div_ceil(size) == self.layer.groups
    }

    /// Returns groups of consecutive inputs.
    fn without_index(&self, index_name: &str) -> Result<Groups, CheckpointError> {
        let is_act_order = |declared: &QuantizationConfig| declared.desc_act == Some(true);
        if self.layer.groups > 1 && self.strict.is_some_and(is_act_order) {
            return Err(self.manifest.tensors.missing(index_name));
        }
        if let Some(size) = self.stated {
            return Ok(Groups::sequential(size, false));
        }
        if self.legacy.is_some() {
            let scales = self.scales_name();
            return Err(CheckpointError::ConfigMismatch {
                key: "groupsize",
                config_file: self.manifest.config_file(),
                config: self
                    .manifest
                    .config
                    .groupsize
                    .unwrap_or_default()
                    .to_string(),
                file: self.manifest.tensors.info(&scales)?.file.clone(),
                name: scales,
                tensors: self.group_evidence(),
            });
        }
        self.unstated()
    }

    /// Returns groups whose size nothing states: the only size that fits or, if several do, the
    /// published one.
    fn unstated(&self) -> Result<Groups, CheckpointError> {
        let PackedLayer {
            bits,
            in_features,
            groups,
            ..
        } = self.layer;
        if groups == 1 {
            return Ok(Groups::sequential(in_features, false));
        }
        let first = self.smallest();
        let second = first.saturating_add(bits.per_word());
        if !self.fits(first) {
            Err(self.no_size())
        } else if !self.fits(second) {
            Ok(Groups::sequential(first, false))
        } else if self.fits(PUBLISHED_GROUP_SIZE) {
            Ok(Groups::sequential(PUBLISHED_GROUP_SIZE, true))
        } else {
            let scales = self.manifest.tensors.info(&self.scales_name())?;
            Err(CheckpointError::GroupSizeUnstated {
                name: scales.name.clone(),
                file: scales.file.clone(),
                groups,
                in_features,
                first,
                second,
            })
        }
    }

    /// Returns the groups that the tensor `g_idx` lists.
    fn with_index(&self, tensor: &Tensor) -> Result<Groups, CheckpointError> {
        let groups = self.layer.groups;
        let index = read_index(tensor, self.layer.in_features, groups)?;
        if let Some(size) = sequential_size(&index, groups) {
            return self.in_order(size);
        }
        let inputs = inputs_of_groups(&index, groups);
        let unused = inputs.iter().filter(|inputs| **inputs == 0).count();
        let is_ordered = |declared: &&QuantizationConfig| declared.desc_act == Some(false);
        if let Some(declared) = self.strict.filter(is_ordered)
            && unused == 0
        {
            return Err(CheckpointError::ConfigMismatch {
                key: "desc_act",
                config_file: declared.file.clone(),
                config: "false".into(),
                name: tensor.name.clone(),
                file: tensor.file.clone(),
                tensors: Evidence::Unordered,
            });
        }
        // The index assigns every input. The size only has to give the right number of groups, each
        // of whole words; a full group has it.
        let per_word = self.layer.bits.per_word();
        let full = inputs.iter().max().map_or(0, |inputs| *inputs);
        let size = [
            self.declared,
            Some(full),
            self.stated,
            Some(PUBLISHED_GROUP_SIZE),
            Some(self.smallest()),
        ]
        .into_iter()
        .flatten()
        .find(|size| self.fits(*size) && size.is_multiple_of(per_word))
        .or(self.stated);
        Ok(Groups {
            size: size.ok_or_else(|| self.no_size())?,
            index: GroupIndex::Permuted(index),
            unused,
            is_assumed: false,
        })
    }

    /// Returns the groups of an index that lists consecutive groups of `size` inputs.
    fn in_order(&self, size: usize) -> Result<Groups, CheckpointError> {
        // The index of a single group is all zeros and shows no size.
        let size = match self.stated {
            Some(stated) if self.layer.groups == 1 => stated,
            _ => size,
        };
        match (self.strict, self.declared) {
            (Some(strict), Some(declared)) if declared != size => {
                Err(self.contradicts_declared(strict, Evidence::Value(size.to_string())))
            }
            _ => Ok(Groups::sequential(size, false)),
        }
    }

    /// Returns the smallest size of whole words that gives at most the layer's number of groups.
    fn smallest(&self) -> usize {
        let size = self.layer.in_features.div_ceil(self.layer.groups);
        size.next_multiple_of(self.layer.bits.per_word())
    }

    fn scales_name(&self) -> String {
        format!("{}.scales", self.layer.stem)
    }

    fn group_evidence(&self) -> Evidence {
        Evidence::Groups {
            groups: self.layer.groups,
            inputs: self.layer.in_features,
        }
    }

    fn contradicts_declared(
        &self,
        declared: &QuantizationConfig,
        tensors: Evidence,
    ) -> CheckpointError {
        match self.manifest.tensors.info(&self.scales_name()) {
            Ok(scales) => CheckpointError::ConfigMismatch {
                key: "group_size",
                config_file: declared.file.clone(),
                config: declared.group_size.unwrap_or_default().to_string(),
                name: scales.name.clone(),
                file: scales.file.clone(),
                tensors,
            },
            Err(error) => error,
        }
    }

    fn no_size(&self) -> CheckpointError {
        match self.manifest.tensors.info(&self.scales_name()) {
            Ok(scales) => CheckpointError::GroupSize {
                name: scales.name.clone(),
                file: scales.file.clone(),
                groups: self.layer.groups,
                in_features: self.layer.in_features,
            },
            Err(error) => error,
        }
    }
}

fn read_index(
    tensor: &Tensor,
    in_features: usize,
    groups: usize,
) -> Result<Vec<u32>, CheckpointError> {
    let found = tensor.expect_shape(&[in_features])?.to_i32()?;
    let group = |(at, found): (usize, i32)| match u32::try_from(found) {
        Ok(group) if (group as usize) < groups => Ok(group),
        _ => Err(CheckpointError::Group {
            name: tensor.name.clone(),
            file: tensor.file.clone(),
            at,
            found,
            last: groups.saturating_sub(1),
        }),
    };
    found.into_iter().enumerate().map(group).collect()
}

/// Returns the size for which input `i` is in group `i / size`, if there is one that gives `groups`
/// groups.
fn sequential_size(index: &[u32], groups: usize) -> Option<usize> {
    let size = index
        .iter()
        .position(|group| *group != 0)
        .unwrap_or(index.len());
    let is_sequential = size > 0
        && index.len().div_ceil(size) == groups
        && index
            .iter()
            .enumerate()
            .all(|(input, group)| input / size == *group as usize);
    is_sequential.then_some(size)
}

/// Returns the number of inputs of each group.
fn inputs_of_groups(index: &[u32], groups: usize) -> Vec<usize> {
    let mut inputs = vec![0; groups];
    index.iter().for_each(|group| inputs[*group as usize] += 1);
    inputs
}
