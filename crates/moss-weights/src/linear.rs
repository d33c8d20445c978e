//! The linear layers of a block: their names and shapes.

use crate::names;

/// A linear layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinearKind {
    /// Queries, values and keys; its input is the normed residual stream.
    QkvProj,
    /// Its input is the output of attention.
    OutProj,
    /// Its input is the normed residual stream.
    FcIn,
    /// Its input is the output of the activation function.
    FcOut,
}

impl LinearKind {
    /// All four, those with the same input first.
    pub const ALL: [Self; 4] = [Self::QkvProj, Self::FcIn, Self::OutProj, Self::FcOut];

    /// Returns the part of its tensors' names behind that of the layer.
    pub const fn tail(self) -> &'static str {
        match self {
            Self::QkvProj => "attn.qkv_proj",
            Self::OutProj => "attn.out_proj",
            Self::FcIn => "mlp.fc_in",
            Self::FcOut => "mlp.fc_out",
        }
    }

    /// Returns what the names of its tensors begin with, such as `transformer.h.3.attn.qkv_proj`.
    pub fn name(self, layer: usize) -> String {
        names::layer_prefix(layer) + self.tail()
    }
}

/// Extents of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearShape {
    /// Columns of the weight.
    pub in_features: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// Is true if the layer has a bias.
    pub has_bias: bool,
}
