//! The checkpoint's names for its tensors; nowhere else are they spelt.

use crate::{LinearKind, MossConfig};

/// The embedding, `[vocab_size, hidden_size]`.
pub const EMBEDDING: &str = "transformer.wte.weight";
pub(crate) const FINAL_NORM: &str = "transformer.ln_f";
pub(crate) const LM_HEAD: &str = "lm_head";

/// What the names of one layer begin with.
pub(crate) fn layer_prefix(layer: usize) -> String {
    format!("transformer.h.{layer}.")
}

impl LinearKind {
    /// All four, those with the same input first.
    pub const ALL: [Self; 4] = [Self::QkvProj, Self::FcIn, Self::OutProj, Self::FcOut];

    /// What the names of its tensors begin with, such as `transformer.h.3.attn.qkv_proj`.
    pub fn stem(self, layer: usize) -> String {
        let names = LayerNames::new(layer);
        match self {
            Self::QkvProj => names.qkv_proj,
            Self::OutProj => names.out_proj,
            Self::FcIn => names.fc_in,
            Self::FcOut => names.fc_out,
        }
    }

    /// `(in_features, out_features, has_bias)`
    pub fn extents(self, config: &MossConfig) -> (usize, usize, bool) {
        let (hidden, inner) = (config.hidden_size, config.inner_size);
        match self {
            Self::QkvProj => (hidden, 3 * hidden, false),
            Self::OutProj => (hidden, hidden, false),
            Self::FcIn => (hidden, inner, true),
            Self::FcOut => (inner, hidden, true),
        }
    }
}

/// Name stems of one layer, such as `transformer.h.3.ln_1`.
#[derive(Debug)]
pub struct LayerNames {
    /// LayerNorm.
    pub norm: String,
    /// Queries, values and keys.
    pub qkv_proj: String,
    /// The output projection of attention.
    pub out_proj: String,
    /// The first layer of the MLP.
    pub fc_in: String,
    /// The second layer of the MLP.
    pub fc_out: String,
}

impl LayerNames {
    /// The names of layer `layer`, from 0.
    pub fn new(layer: usize) -> Self {
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
