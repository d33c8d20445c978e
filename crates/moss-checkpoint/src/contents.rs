//! Whether `config.json` and the tensors are of the same network, and which tensors have no use in
//! it.

use crate::{Checkpoint, CheckpointError, TensorInfo, error::Evidence};

pub(crate) const EMBEDDING: &str = "transformer.wte.weight";

pub(crate) const HEAD: &str = "lm_head";

/// The linear layers of a block, and whether they have a bias.
pub(crate) const LINEARS: [(&str, bool); 4] = [
    ("attn.qkv_proj", false),
    ("attn.out_proj", false),
    ("mlp.fc_in", true),
    ("mlp.fc_out", true),
];

/// Layer and rest of a name such as `transformer.h.3.attn.qkv_proj.weight`.
fn in_layer(name: &str) -> Option<(usize, &str)> {
    let (digits, tail) = name.strip_prefix("transformer.h.")?.split_once('.')?;
    let layer: usize = digits.parse().ok()?;
    (layer.to_string() == digits).then_some((layer, tail)) // no other spelling is ever looked up
}

/// Constants of upstream's code: causal masks, and the value of masked scores.
fn is_mask(tail: &str, info: &TensorInfo) -> bool {
    match (tail, info.shape.as_slice()) {
        ("attn.causal_mask" | "attn.bias", [heads @ .., rows, cols]) => {
            rows == cols && heads.iter().all(|extent| *extent == 1)
        }
        ("attn.masked_bias", shape) => shape.iter().all(|extent| *extent == 1),
        _ => false,
    }
}

/// Refuses sizes of `config.json` that the tensors contradict, before anything is allocated by
/// them.
pub(crate) fn check_config(checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let config = checkpoint.config();
    let mismatch = |key: &'static str, config: String, info: &TensorInfo, tensors: usize| {
        Err(CheckpointError::ConfigMismatch {
            key,
            config_file: checkpoint.folder().join("config.json"),
            config,
            name: info.name.clone(),
            file: info.file.clone(),
            tensors: Evidence::Value(tensors.to_string()),
        })
    };
    let is_weight =
        |info: &&TensorInfo| in_layer(&info.name).is_some_and(|(_, tail)| !is_mask(tail, info));
    let layer_of = |info: &&TensorInfo| in_layer(&info.name).map(|(layer, _)| layer);
    if let Some(last) = checkpoint
        .tensor_infos()
        .filter(is_weight)
        .max_by_key(layer_of)
    {
        let layers = layer_of(&last).unwrap_or(0).saturating_add(1);
        if layers != config.num_layers {
            return mismatch("n_layer", config.num_layers.to_string(), last, layers);
        }
    }
    let inner = config.inner();
    let inner_said = inner.map_or_else(|| "4 * n_embd".into(), |inner| inner.to_string());
    let vectors = [
        (EMBEDDING, 0, "vocab_size", Some(config.vocab_size)),
        (EMBEDDING, 1, "n_embd", Some(config.hidden_size)),
        (
            "transformer.ln_f.weight",
            0,
            "n_embd",
            Some(config.hidden_size),
        ),
        (
            "transformer.h.0.ln_1.weight",
            0,
            "n_embd",
            Some(config.hidden_size),
        ),
        ("transformer.h.0.mlp.fc_in.bias", 0, "n_inner", inner),
    ];
    for (name, axis, key, said) in vectors {
        let Ok(info) = checkpoint.info(name) else {
            continue;
        };
        match info.shape.get(axis) {
            Some(found) if said != Some(*found) => {
                let said = said.map_or_else(|| inner_said.clone(), |said| said.to_string());
                return mismatch(key, said, info, *found);
            }
            _ => {}
        }
    }
    // Masks are as wide as the positions that the network was built for; fewer may be used.
    for info in checkpoint.tensor_infos() {
        if let Some((_, tail)) = in_layer(&info.name)
            && tail != "attn.masked_bias"
            && is_mask(tail, info)
            && let Some(&positions) = info.shape.last()
            && config.context_length > positions
        {
            return mismatch(
                "n_positions",
                config.context_length.to_string(),
                info,
                positions,
            );
        }
    }
    Ok(())
}

/// Names of tensors that the network does not use, and that are no masks either.
pub(crate) fn unused(checkpoint: &Checkpoint) -> Vec<&str> {
    let infos = checkpoint
        .tensor_infos()
        .filter(|info| !is_used(checkpoint, info));
    infos.map(|info| info.name.as_str()).collect()
}

fn is_used(checkpoint: &Checkpoint, info: &TensorInfo) -> bool {
    if let Some((layer, tail)) = in_layer(&info.name) {
        let in_linear = LINEARS
            .into_iter()
            .find_map(|(linear, _)| Some((linear, tail.strip_prefix(linear)?.strip_prefix('.')?)));
        return is_mask(tail, info)
            || layer < checkpoint.config().num_layers
                && match in_linear {
                    Some((linear, kind)) => {
                        let packed =
                            checkpoint.contains(&format!("transformer.h.{layer}.{linear}.qweight"));
                        is_part(kind, packed)
                    }
                    None => matches!(tail, "ln_1.weight" | "ln_1.bias"),
                };
    }
    match info.name.strip_prefix("lm_head.") {
        Some(kind) => is_part(kind, checkpoint.contains("lm_head.qweight")),
        None => matches!(
            info.name.as_str(),
            EMBEDDING | "transformer.ln_f.weight" | "transformer.ln_f.bias"
        ),
    }
}

/// Whether a linear layer has a tensor of this kind. A bias that must be zero is looked at when the
/// layer is read.
fn is_part(kind: &str, packed: bool) -> bool {
    match kind {
        "bias" => true,
        "weight" => !packed,
        "qweight" | "qzeros" | "scales" | "g_idx" => packed,
        _ => false,
    }
}
