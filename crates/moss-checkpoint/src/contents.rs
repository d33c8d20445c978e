//! Comparison of `config.json` with the tensors, and the tensors that the network does not use.

use moss_weights::{
    LinearKind,
    names::{self, EMBEDDING, FINAL_NORM, LM_HEAD, split_layer},
};

use crate::{
    CheckpointError, TensorInfo, error::Evidence, manifest::Manifest, tensor_index::TensorIndex,
};

/// Returns `true` for constants of upstream's code: causal masks, and the value of masked scores.
fn is_mask(tail: &str, info: &TensorInfo) -> bool {
    match (tail, info.shape.as_slice()) {
        ("attn.causal_mask" | "attn.bias", [heads @ .., rows, cols]) => {
            rows == cols && heads.iter().all(|extent| *extent == 1)
        }
        ("attn.masked_bias", shape) => shape.iter().all(|extent| *extent == 1),
        _ => false,
    }
}

/// Rejects sizes of `config.json` that contradict the tensors, before memory is allocated for them.
pub(crate) fn check_config(manifest: &Manifest) -> Result<(), CheckpointError> {
    check_layers(manifest)?;
    check_extents(manifest)?;
    check_positions(manifest)
}

fn mismatch(
    manifest: &Manifest,
    key: &'static str,
    config: String,
    info: &TensorInfo,
    tensors: usize,
) -> CheckpointError {
    CheckpointError::ConfigMismatch {
        key,
        config_file: manifest.config_file(),
        config,
        name: info.name.clone(),
        file: info.file.clone(),
        tensors: Evidence::Value(tensors.to_string()),
    }
}

fn check_layers(manifest: &Manifest) -> Result<(), CheckpointError> {
    let num_layers = manifest.config.num_layers;
    let weights = manifest.tensors.infos().filter_map(|info| {
        let (layer, tail) = split_layer(&info.name)?;
        (!is_mask(tail, info)).then_some((layer, info))
    });
    let Some((last, info)) = weights.max_by_key(|(layer, _)| *layer) else {
        return Ok(());
    };
    let layers = last.saturating_add(1);
    if layers == num_layers {
        return Ok(());
    }
    Err(mismatch(
        manifest,
        "n_layer",
        num_layers.to_string(),
        info,
        layers,
    ))
}

fn check_extents(manifest: &Manifest) -> Result<(), CheckpointError> {
    let config = &manifest.config;
    let hidden = Some(config.hidden_size);
    let extents = [
        (
            EMBEDDING.to_owned(),
            0,
            "vocab_size",
            Some(config.vocab_size),
        ),
        (EMBEDDING.to_owned(), 1, "n_embd", hidden),
        (format!("{FINAL_NORM}.weight"), 0, "n_embd", hidden),
        (
            format!("{}.weight", names::block_norm(0)),
            0,
            "n_embd",
            hidden,
        ),
        (
            format!("{}.bias", LinearKind::FcIn.name(0)),
            0,
            "n_inner",
            config.inner(),
        ),
    ];
    for (name, axis, key, configured) in extents {
        let Some(info) = manifest.tensors.get(&name) else {
            continue;
        };
        if let Some(found) = info.shape.get(axis)
            && configured != Some(*found)
        {
            // `None` is a default of `n_inner` that overflows.
            let configured = configured.map_or("4 * n_embd".into(), |size| size.to_string());
            return Err(mismatch(manifest, key, configured, info, *found));
        }
    }
    Ok(())
}

/// Rejects a context length above that of the causal masks. It may be smaller.
fn check_positions(manifest: &Manifest) -> Result<(), CheckpointError> {
    let context_length = manifest.config.context_length;
    for info in manifest.tensors.infos() {
        if let Some((_, tail)) = split_layer(&info.name)
            && tail != "attn.masked_bias"
            && is_mask(tail, info)
            && let Some(&positions) = info.shape.last()
            && context_length > positions
        {
            let configured = context_length.to_string();
            return Err(mismatch(
                manifest,
                "n_positions",
                configured,
                info,
                positions,
            ));
        }
    }
    Ok(())
}

/// Returns the names of tensors that neither the network uses nor upstream's masks are.
pub(crate) fn unused(manifest: &Manifest) -> Vec<&str> {
    let num_layers = manifest.config.num_layers;
    let tensors = &manifest.tensors;
    let infos = tensors
        .infos()
        .filter(|info| !is_used(tensors, num_layers, info));
    infos.map(|info| info.name.as_str()).collect()
}

fn is_used(tensors: &TensorIndex, num_layers: usize, info: &TensorInfo) -> bool {
    if let Some((layer, tail)) = split_layer(&info.name) {
        return is_mask(tail, info) || layer < num_layers && is_in_block(tensors, layer, tail);
    }
    match info
        .name
        .strip_prefix(LM_HEAD)
        .and_then(|rest| rest.strip_prefix('.'))
    {
        Some(kind) => is_part(kind, tensors.contains(&format!("{LM_HEAD}.qweight"))),
        None => {
            let name = info.name.as_str();
            name == EMBEDDING || is_norm(name, FINAL_NORM)
        }
    }
}

fn is_in_block(tensors: &TensorIndex, layer: usize, tail: &str) -> bool {
    let linear = LinearKind::ALL.into_iter().find_map(|linear| {
        let part = tail.strip_prefix(linear.tail())?.strip_prefix('.')?;
        Some((linear, part))
    });
    match linear {
        Some((linear, part)) => {
            let packed = format!("{}.qweight", linear.name(layer));
            is_part(part, tensors.contains(&packed))
        }
        None => is_norm(tail, "ln_1"),
    }
}

fn is_norm(name: &str, norm: &str) -> bool {
    let part = name
        .strip_prefix(norm)
        .and_then(|rest| rest.strip_prefix('.'));
    matches!(part, Some("weight" | "bias"))
}

/// Returns `true` if a linear layer has a tensor of this kind. A bias that must be zero is checked
/// when the layer is read.
fn is_part(kind: &str, packed: bool) -> bool {
    match kind {
        "bias" => true,
        "weight" => !packed,
        "qweight" | "qzeros" | "scales" | "g_idx" => packed,
        _ => false,
    }
}
