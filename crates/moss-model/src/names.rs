//! The checkpoint's names for its tensors; nowhere else are they spelt.

pub(crate) const EMBEDDING: &str = "transformer.wte.weight";
pub(crate) const FINAL_NORM: &str = "transformer.ln_f";
pub(crate) const LM_HEAD: &str = "lm_head";

/// What the names of one layer begin with.
pub(crate) fn layer_prefix(layer: usize) -> String {
    format!("transformer.h.{layer}.")
}

/// Name stems of one layer.
pub(crate) struct LayerNames {
    pub(crate) norm: String,
    pub(crate) qkv_proj: String,
    pub(crate) out_proj: String,
    pub(crate) fc_in: String,
    pub(crate) fc_out: String,
}

impl LayerNames {
    pub(crate) fn new(layer: usize) -> Self {
        let stem = |tail: &str| layer_prefix(layer) + tail;
        Self {
            norm: stem("ln_1"),
            qkv_proj: stem("attn.qkv_proj"),
            out_proj: stem("attn.out_proj"),
            fc_in: stem("mlp.fc_in"),
            fc_out: stem("mlp.fc_out"),
        }
    }
}
