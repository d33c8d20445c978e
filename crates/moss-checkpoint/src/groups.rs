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
}

/// The default of the published quantiser, and every published checkpoint's.
const UPSTREAM: usize = 128;

/// The groups of the layer `stem`, whose scales have `groups` rows.
pub(crate) fn resolve(
    checkpoint: &Checkpoint,
    stem: &str,
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
    let legacy = legacy_size(checkpoint, in_features);
    let even = in_features
        .checked_div(groups)
        .filter(|size| size.checked_mul(groups) == Some(in_features));
    let upstream = (in_features > UPSTREAM).then_some(UPSTREAM);
    let likely = [said, legacy, upstream, even]
        .into_iter()
        .flatten()
        .find(fits);

    let name = format!("{stem}.g_idx");
    if !checkpoint.contains(&name) {
        if groups > 1 && strict.is_some_and(|declared| declared.desc_act == Some(true)) {
            return Err(CheckpointError::MissingTensor {
                name,
                folder: checkpoint.folder().to_owned(),
            });
        }
        if let (None, Some(legacy), Some(likely)) = (said, legacy, likely)
            && legacy != likely
        {
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
        let size = likely.ok_or_else(|| no_size(checkpoint, stem, in_features, groups))?;
        return Ok(Groups {
            size,
            index: GroupIndex::Sequential,
            unused: 0,
        });
    }
    let tensor = checkpoint.tensor(&name)?;
    let index = read_index(&tensor, in_features, groups)?;
    if let Some(size) = sequential(&index, groups) {
        let size = if groups == 1 {
            likely.unwrap_or(size)
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
            }),
        };
    }
    let unused = unused(&index, groups);
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
    // The index says all there is to say; the size only has to give as many groups.
    let size = likely.or(Some(in_features.div_ceil(groups)).filter(fits));
    let size = size.ok_or_else(|| no_size(checkpoint, stem, in_features, groups))?;
    Ok(Groups {
        size,
        index: GroupIndex::Permuted(index),
        unused,
    })
}

/// What `groupsize` of config.json says, unless `wbits` beside it says that nothing is quantised.
pub(crate) fn legacy_size(checkpoint: &Checkpoint, in_features: usize) -> Option<usize> {
    let config = checkpoint.config();
    let size = config.groupsize.filter(|size| *size == -1 || *size > 0)?;
    let is_meant = !matches!(config.wbits, Some(16 | 32));
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

fn unused(index: &[u32], groups: usize) -> usize {
    let mut seen = vec![false; groups];
    index.iter().for_each(|group| seen[*group as usize] = true);
    seen.iter().filter(|seen| !**seen).count()
}
