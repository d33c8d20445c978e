//! Which inputs of a packed weight share a scale: from the shapes, the index and the configuration,
//! which have to agree.

use crate::{Checkpoint, CheckpointError, GroupIndex, Tensor, declared::Declared, error::Evidence};

/// The groups of one layer.
pub(crate) struct Groups {
    /// Inputs of a group, the last one's aside.
    pub(crate) size: usize,
    pub(crate) index: GroupIndex,
    /// Groups that no input belongs to.
    pub(crate) unused: usize,
    /// Several sizes fit, and neither a file nor an index states which one it is.
    pub(crate) is_assumed: bool,
}

/// The default of the published quantiser, and every published checkpoint's.
const UPSTREAM: usize = 128;

/// Returns the groups of the layer `stem` with `bits` a weight, whose scales have `groups` rows.
pub(crate) fn resolve(
    checkpoint: &Checkpoint,
    stem: &str,
    bits: u32,
    in_features: usize,
    groups: usize,
) -> Result<Groups, CheckpointError> {
    if in_features == 0 || groups == 0 {
        return Err(no_size(checkpoint, stem, in_features, groups));
    }
    let fits = |size: &usize| *size > 0 && in_features.div_ceil(*size) == groups;
    let declared = checkpoint.declared();
    // Files that say of single layers what is right for them are believed for none.
    let strict = declared.filter(|declared| !declared.has_overrides);
    let said = strict.and_then(|declared| declared.group_size(in_features));
    let disagrees = |declared: &Declared, tensors: Evidence| -> Result<Groups, CheckpointError> {
        let scales = checkpoint.info(&format!("{stem}.scales"))?;
        Err(CheckpointError::ConfigMismatch {
            key: "group_size",
            config_file: declared.file.clone(),
            config: declared.group_size.unwrap_or_default().to_string(),
            name: scales.name.clone(),
            file: scales.file.clone(),
            tensors,
        })
    };
    if let (Some(declared), Some(size)) = (strict, said)
        && !fits(&size)
    {
        return disagrees(
            declared,
            Evidence::Groups {
                groups,
                inputs: in_features,
            },
        );
    }
    let of_most = declared.and_then(|declared| declared.group_size(in_features));
    let legacy = legacy_size(checkpoint, in_features);
    let stated = of_most.into_iter().chain(legacy).find(fits);

    let name = format!("{stem}.g_idx");
    if !checkpoint.contains(&name) {
        if groups > 1 && strict.is_some_and(|declared| declared.desc_act == Some(true)) {
            return Err(CheckpointError::MissingTensor {
                name,
                folder: checkpoint.folder().to_owned(),
            });
        }
        if let (None, Some(_)) = (stated, legacy) {
            return Err(CheckpointError::ConfigMismatch {
                key: "groupsize",
                config_file: checkpoint.folder().join("config.json"),
                config: checkpoint
                    .config()
                    .groupsize
                    .unwrap_or_default()
                    .to_string(),
                name: format!("{stem}.scales"),
                file: checkpoint.info(&format!("{stem}.scales"))?.file.clone(),
                tensors: Evidence::Groups {
                    groups,
                    inputs: in_features,
                },
            });
        }
        let (size, is_assumed) = match stated {
            Some(size) => (size, false),
            None => unstated(checkpoint, stem, bits, in_features, groups)?,
        };
        return Ok(Groups {
            size,
            index: GroupIndex::Sequential,
            unused: 0,
            is_assumed,
        });
    }
    let tensor = checkpoint.tensor(&name)?;
    let index = read_index(&tensor, in_features, groups)?;
    if let Some(size) = sequential(&index, groups) {
        let size = if groups == 1 {
            stated.unwrap_or(size)
        } else {
            size
        };
        return match (strict, said) {
            (Some(declared), Some(said)) if said != size => {
                disagrees(declared, Evidence::Value(size.to_string()))
            }
            _ => Ok(Groups {
                size,
                index: GroupIndex::Sequential,
                unused: 0,
                is_assumed: false,
            }),
        };
    }
    let inputs = inputs_of_groups(&index, groups);
    let unused = inputs.iter().filter(|inputs| **inputs == 0).count();
    if let Some(declared) =
        strict.filter(|declared| declared.desc_act == Some(false) && unused == 0)
    {
        return Err(CheckpointError::ConfigMismatch {
            key: "desc_act",
            config_file: declared.file.clone(),
            config: "false".into(),
            name,
            file: tensor.file,
            tensors: Evidence::Unordered,
        });
    }
    // The index assigns every input; the size only has to give as many groups, of whole words. A
    // full group has it.
    let per_word = 32 / bits as usize;
    let full = inputs.iter().max().map_or(0, |inputs| *inputs);
    let size = [said, Some(full), stated, Some(UPSTREAM)]
        .into_iter()
        .flatten()
        .chain([smallest(in_features, groups, per_word)])
        .find(|size| fits(size) && size.is_multiple_of(per_word))
        .or(stated);
    let size = size.ok_or_else(|| no_size(checkpoint, stem, in_features, groups))?;
    Ok(Groups {
        size,
        index: GroupIndex::Permuted(index),
        unused,
        is_assumed: false,
    })
}

/// Returns the size of groups that nothing states: the only one that fits or, where several do,
/// the published 128, and whether it is such an assumption.
fn unstated(
    checkpoint: &Checkpoint,
    stem: &str,
    bits: u32,
    in_features: usize,
    groups: usize,
) -> Result<(usize, bool), CheckpointError> {
    if groups == 1 {
        return Ok((in_features, false));
    }
    let per_word = 32 / bits as usize;
    let fits = |size: usize| in_features.div_ceil(size) == groups;
    let first = smallest(in_features, groups, per_word);
    let second = first.saturating_add(per_word);
    match () {
        () if !fits(first) => Err(no_size(checkpoint, stem, in_features, groups)),
        () if !fits(second) => Ok((first, false)),
        () if fits(UPSTREAM) => Ok((UPSTREAM, true)),
        () => {
            let scales = checkpoint.info(&format!("{stem}.scales"))?;
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
}

/// Returns the smallest multiple of a word's weights that gives at most `groups` groups.
fn smallest(in_features: usize, groups: usize, per_word: usize) -> usize {
    in_features.div_ceil(groups).next_multiple_of(per_word)
}

/// Returns what `groupsize` of config.json says of packed weights. It is a default of upstream's
/// class where `wbits` beside it says that nothing is quantised: then a file that states the size
/// in today's keys is believed alone.
pub(crate) fn legacy_size(checkpoint: &Checkpoint, in_features: usize) -> Option<usize> {
    let config = checkpoint.config();
    let size = config.groupsize.filter(|size| *size == -1 || *size > 0)?;
    let is_stated = checkpoint
        .declared()
        .is_some_and(|declared| declared.group_size.is_some());
    let is_meant = config.is_quantised() || !is_stated;
    is_meant.then(|| usize::try_from(size).unwrap_or(in_features))
}

fn no_size(
    checkpoint: &Checkpoint,
    stem: &str,
    in_features: usize,
    groups: usize,
) -> CheckpointError {
    let name = format!("{stem}.scales");
    match checkpoint.info(&name) {
        Ok(scales) => {
            let file = scales.file.clone();
            CheckpointError::GroupSize {
                name,
                file,
                groups,
                in_features,
            }
        }
        Err(error) => error,
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

/// The size that puts input `i` into group `i / size`, if there is one that gives `groups` of them.
fn sequential(index: &[u32], groups: usize) -> Option<usize> {
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
