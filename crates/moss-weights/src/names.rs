//! Names of tensors in checkpoints, except those of the linear layers
//! ([`LinearKind::name`](crate::LinearKind::name)).

/// The embedding, `[vocab_size, hidden_size]`.
pub const EMBEDDING: &str = "transformer.wte.weight";
/// The last norm; its tensors are `weight` and `bias`.
pub const FINAL_NORM: &str = "transformer.ln_f";
/// The linear layer from hidden states to logits.
pub const LM_HEAD: &str = "lm_head";

/// The start of the names of all layers.
const LAYERS: &str = "transformer.h.";

/// Returns the start of the names of one layer, such as `transformer.h.3.`.
pub fn layer_prefix(layer: usize) -> String {
    format!("{LAYERS}{layer}.")
}

/// Returns the start of the names of a layer's norm, such as `transformer.h.3.ln_1`.
pub fn block_norm(layer: usize) -> String {
    layer_prefix(layer) + "ln_1"
}

/// Splits a name such as `transformer.h.3.attn.qkv_proj.weight` into the layer and the rest. Returns
/// `None` for other names, and for numbers in another spelling, such as `03`.
pub fn split_layer(name: &str) -> Option<(usize, &str)> {
    let (digits, tail) = name.strip_prefix(LAYERS)?.split_once('.')?;
    let layer: usize = digits.parse().ok()?;
    (layer.to_string() == digits).then_some((layer, tail))
}
