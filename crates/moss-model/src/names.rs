//! Names of a checkpoint's tensors, except for the linear layers
//! ([`moss_weights::LinearKind::name`]).

/// The embedding, `[vocab_size, hidden_size]`.
pub const EMBEDDING: &str = "transformer.wte.weight";
pub(crate) const FINAL_NORM: &str = "transformer.ln_f";
pub(crate) const LM_HEAD: &str = "lm_head";

/// Returns the prefix of the names of one layer's tensors.
pub(crate) fn layer_prefix(layer: usize) -> String {
    format!("transformer.h.{layer}.")
}

/// Returns the prefix of the names of a layer's norm, such as `transformer.h.3.ln_1`.
pub fn block_norm(layer: usize) -> String {
    layer_prefix(layer) + "ln_1"
}
