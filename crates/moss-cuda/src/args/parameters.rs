//! The lists of kernels that take separate parameters.

use std::ffi::c_void;

use half::f16;

use super::{arguments::Arguments, structs::NormTarget};
use crate::address::{In, Out};

/// Defines a struct per list: a field is a parameter, in the order of the kernel's signature.
macro_rules! parameters {
    ($($(#[$attribute:meta])* $name:ident { $($field:ident: $type:ty,)+ })+) => { $(
        $(#[$attribute])*
        pub(crate) struct $name { $(pub(crate) $field: $type),+ }

        impl Arguments for $name {
            const PARAMETERS: &'static [usize] = &[$(size_of::<$type>()),+];

            fn with_addresses<R>(&self, launch: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
                launch(&mut [$((&raw const self.$field).cast_mut().cast()),+])
            }
        }
    )+ };
}

parameters! {
    /// The parameters of `embedding`.
    EmbeddingArgs {
        table: In<f16>,
        table_stride: u32,
        ids: In<u32>,
        x: Out<f32>,
        hidden: u32,
        non_finite: Out<u64>,
    }

    /// The parameters of `layer_norm`.
    LayerNormArgs {
        x: In<f32>,
        source_rows: In<u32>,
        weight: In<f32>,
        bias: In<f32>,
        hidden: u32,
        epsilon: f32,
        first: NormTarget,
        second: NormTarget,
    }

    /// The parameters of `repack_{int4,int8}`.
    RepackArgs {
        qweight: In<u8>,
        order: In<u32>,
        out: Out<u8>,
        inputs: u32,
        outputs: u32,
        blocks: u32,
        words: u64,
    }

    /// The parameters of `repack_table_{int4,int8}`.
    RepackTableArgs {
        qzeros: In<u8>,
        scales: In<u8>,
        group_of: In<u32>,
        out: Out<u8>,
        outputs: u32,
        entries_per_tile: u32,
        entries: u32,
    }

    /// The parameters of `fill_random`.
    FillRandomArgs {
        out: Out<u8>,
        words: u64,
        seed: u32,
        keep: u32,
        set_even: u32,
        set_odd: u32,
    }

    /// The parameters of `layer_norm_f32`.
    LayerNormF32Args {
        x: In<f32>,
        weight: In<f32>,
        bias: In<f32>,
        y: Out<f32>,
        columns: u32,
        epsilon: f32,
    }

    /// The parameters of `add_bias_f32`.
    AddBiasF32Args {
        x: Out<f32>,
        bias: In<f32>,
        columns: u32,
        gelu: u32,
    }

    /// The parameters of `split_heads_f32`.
    SplitHeadsF32Args {
        qkv: In<f32>,
        sin: In<f32>,
        cos: In<f32>,
        q: Out<f32>,
        k: Out<f32>,
        v: Out<f32>,
        heads: u32,
        head_dim: u32,
        shards: u32,
        pairs: u32,
        start: u32,
        positions: u32,
    }

    /// The parameters of `merge_heads_f32`.
    MergeHeadsF32Args {
        x: In<f32>,
        y: Out<f32>,
        heads: u32,
        head_dim: u32,
    }

    /// The parameters of `causal_softmax_f32`.
    CausalSoftmaxF32Args {
        scores: Out<f32>,
        columns: u32,
        first: u32,
    }

    /// The parameters of `permute_upper_f32`.
    PermuteUpperF32Args {
        panel: In<f32>,
        start: u32,
        width: u32,
        place: In<u32>,
        targets: In<u64>,
        panel_width: u32,
        n: u32,
    }
}
