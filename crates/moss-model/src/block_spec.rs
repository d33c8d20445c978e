//! The one description of a block that loaders, placement, inspection and measurements read: its
//! sizes, and the names and shapes of its tensors.

use moss_cuda::HeadLayout;
use moss_weights::{LinearKind, LinearShape};

use crate::names;

/// Sizes of a block, the same in all layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockSpec {
    /// Attention heads.
    pub num_heads: usize,
    /// Lanes of a head.
    pub head_dim: usize,
    /// Width inside the MLP.
    pub inner_size: usize,
    /// Lanes of each head that rotate with the position.
    pub rotary_dim: usize,
    /// Trained positions.
    pub context_length: usize,
    /// Shards of qkv_proj's outputs, [query | value | key] each.
    pub qkv_shards: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
}

/// A part of each shard of qkv_proj's outputs, in stored order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum QkvPart {
    Query,
    Value,
    Key,
}

/// Equally spaced slices of a row: `len` columns from `first` on, then from `first + stride`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnSlices {
    /// First column of the first slice.
    pub first: usize,
    /// Columns of a slice.
    pub len: usize,
    /// Columns from one slice to the next.
    pub stride: usize,
}

impl BlockSpec {
    /// The blocks of MOSS-moon-003.
    pub const MOON_003: Self = Self {
        num_heads: 24,
        head_dim: 256,
        inner_size: 24_576,
        rotary_dim: 64,
        context_length: 2048,
        qkv_shards: 4,
        layer_norm_epsilon: 1e-5,
    };

    /// Returns the width of the residual stream.
    pub const fn hidden_size(&self) -> usize {
        self.num_heads.saturating_mul(self.head_dim)
    }

    /// Returns the shape of a linear layer.
    pub const fn linear(&self, kind: LinearKind) -> LinearShape {
        let (hidden, inner) = (self.hidden_size(), self.inner_size);
        let (in_features, out_features, has_bias) = match kind {
            LinearKind::QkvProj => (hidden, hidden.saturating_mul(3), false),
            LinearKind::OutProj => (hidden, hidden, false),
            LinearKind::FcIn => (hidden, inner, true),
            LinearKind::FcOut => (inner, hidden, true),
        };
        LinearShape {
            in_features,
            out_features,
            has_bias,
        }
    }

    /// Returns the shapes of all linear layers, in the order of [`LinearKind::ALL`].
    pub fn linears(&self) -> [(LinearKind, LinearShape); 4] {
        LinearKind::ALL.map(|kind| (kind, self.linear(kind)))
    }

    /// Returns names and shapes of the tensors of layer `layer` that belong to no linear layer:
    /// weight and bias of the norm.
    pub fn tensors(&self, layer: usize) -> Vec<(String, Vec<usize>)> {
        let norm = names::block_norm(layer);
        ["weight", "bias"]
            .map(|tail| (format!("{norm}.{tail}"), vec![self.hidden_size()]))
            .into()
    }

    /// Returns the columns of a part in a row of qkv_proj's outputs: all heads, in order.
    pub const fn qkv_columns(&self, part: QkvPart) -> ColumnSlices {
        let len = self.num_heads / self.qkv_shards * self.head_dim;
        ColumnSlices {
            first: part as usize * len,
            len,
            stride: 3 * len,
        }
    }

    /// Returns the layout of the heads on a GPU.
    pub const fn head_layout(&self) -> HeadLayout {
        HeadLayout {
            num_heads: self.num_heads,
            head_dim: self.head_dim,
            shards: self.qkv_shards,
        }
    }

    /// Returns the floating-point operations of the matrix products for a prompt: two for each
    /// weight and token, and attention's two products, of which causality leaves half.
    pub fn matmul_flops(&self, tokens: usize) -> f64 {
        let weights = self
            .linears()
            .map(|(_, shape)| shape.in_features as f64 * shape.out_features as f64);
        let (weights, tokens) = (weights.iter().sum::<f64>(), tokens as f64);
        2.0 * weights * tokens + 2.0 * tokens * tokens * self.hidden_size() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_row_share_its_columns() {
        let spec = BlockSpec {
            num_heads: 8,
            head_dim: 3,
            ..BlockSpec::MOON_003
        };
        let columns = |part| spec.qkv_columns(part);
        let len = 2 * 3; // two heads a shard
        for (part, first) in [
            (QkvPart::Query, 0),
            (QkvPart::Value, len),
            (QkvPart::Key, 2 * len),
        ] {
            let expected = ColumnSlices {
                first,
                len,
                stride: 3 * len,
            };
            assert_eq!(columns(part), expected);
        }
        let rows = spec.linear(LinearKind::QkvProj).out_features;
        assert_eq!(rows, spec.qkv_shards * columns(QkvPart::Key).stride);
    }
}
