//! The structs that kernels take by value, or read from memory, field for field as in `kernels/`.

use std::ffi::c_void;

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use half::f16;
use moss_sampling::SampleRequest;

use super::arguments::Arguments;
use crate::address::{In, Out};

/// The layout of a struct, for comparison with C++: name there, size, and name, offset and
/// size of each field.
#[cfg(test)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    pub(super) size: usize,
    pub(super) fields: &'static [(&'static str, usize, usize)],
}

/// Defines structs together with the table of their layouts. Fields have the names of the C++
/// struct.
macro_rules! structs {
    ($(
        $(#[$attribute:meta])*
        $c_name:literal: $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)+ }
    )+) => {
        $(
            $(#[$attribute])*
            #[derive(Debug, Clone, Copy)]
            #[repr(C)]
            pub(crate) struct $name { $($(#[$doc])* pub(crate) $field: $type),+ }
        )+

        #[cfg(test)]
        pub(super) const LAYOUTS: &[Layout] = &[$(Layout {
            name: $c_name,
            size: size_of::<$name>(),
            fields: &[$((
                stringify!($field),
                std::mem::offset_of!($name, $field),
                size_of::<$type>(),
            )),+],
        }),+];
    };
}

structs! {
    /// One weight matrix and its input.
    "Segment": Segment {
        weight: In<u8>,
        table: In<u8>,
        x: In<f16>,
        x_stride: u32,
        blocks: u32,
        groups: u32,
        group_blocks: u32,
        unit_blocks: u32,
    }

    /// A matrix product with its epilogue: the parameters of `gemm_mma_{f16,int8,int4}`, and a part
    /// of those of the other products.
    "LinearArgs": LinearArgs {
        segments: [Segment; 2],
        first_tiles: u32,
        tile_offset: u32,
        rows: u32,
        n: u32,
        epilogue: Epilogue,
        layer: u32,
        out_stride: u64,
        out: Out<f32>,
        bias: In<f32>,
        non_finite: Out<u64>,
        heads: Heads,
    }

    /// The parameters of `linear_{f16,int8,int4}`.
    "DecodeLinearArgs": DecodeLinearArgs {
        linear: LinearArgs,
        tiles: u32,
    }

    /// The parameters of `linear_sm90_{f16,int8,int4}`.
    "LinearSm90Args": LinearSm90Args {
        x: [TensorMap; 2],
        weight: [TensorMap; 2],
        table: [TensorMap; 2],
        linear: LinearArgs,
        parts: Out<f32>,
        tickets: Out<u32>,
        tiles: u32,
    }

    /// The destinations of the epilogue of qkv_proj and fc_in.
    "Heads": Heads {
        q: Out<f16>,
        keys: Out<f16>,
        values: Out<f16>,
        positions: In<u32>,
        slots: In<u32>,
        sin: In<f32>,
        cos: In<f32>,
        inner_bias: In<f32>,
        inner: Out<f16>,
        inner_scatter: In<u32>,
        inner_size: u32,
        inner_stride: u32,
        hidden: u32,
        shards: u32,
        num_heads: u32,
        head_dim: u32,
        head_stride: u32,
        rotary_pairs: u32,
    }

    /// A destination of a norm.
    "NormTarget": NormTarget {
        out: Out<f16>,
        scatter: In<u32>,
        stride: u32,
    }

    /// The parameters of decode attention.
    "DecodeAttentionArgs": DecodeAttentionArgs {
        q: In<f16>,
        keys: In<f16>,
        values: In<f16>,
        tables: In<u32>,
        positions: In<u32>,
        parts: Out<f32>,
        tickets: Out<u32>,
        out: Out<f16>,
        scatter: In<u32>,
        max_blocks: u32,
        heads: u32,
        head_dim: u32,
        stride: u32,
        out_stride: u32,
        least_splits: u32,
        scale: f32,
    }

    /// The parameters of `kv_quantize`.
    "KvQuantizeArgs": KvQuantizeArgs {
        keys: In<f16>,
        values: In<f16>,
        slots: In<u32>,
        key_cache: Out<f16>,
        value_cache: Out<f16>,
        heads: u32,
        stride: u32,
    }

    /// The parameters of prefill attention.
    "PrefillAttentionArgs": PrefillAttentionArgs {
        q: In<f16>,
        keys: In<f16>,
        values: In<f16>,
        tables: In<u32>,
        tiles: In<u32>,
        out: Out<f16>,
        scatter: In<u32>,
        max_blocks: u32,
        heads: u32,
        head_dim: u32,
        stride: u32,
        out_stride: u32,
        scale: f32,
    }

    /// A `CUtensorMap`, the descriptor of bulk tensor copies.
    #[repr(align(64))]
    "TensorMap": TensorMap {
        words: [u64; 16],
    }

    /// The parameters of `gemm_f16_{rope_gelu,residual}`.
    "GemmArgs": GemmArgs {
        x: [TensorMap; 2],
        weight: [TensorMap; 2],
        linear: LinearArgs,
        semaphores: Out<u32>,
        slices: u32,
    }

    /// The parameters of `gemm_transposed_{f16,int8,int4}_{rope_gelu,residual}`.
    "TransposedGemmArgs": TransposedGemmArgs {
        x: [TensorMap; 2],
        weight: [TensorMap; 2],
        table: [TensorMap; 2],
        linear: LinearArgs,
        semaphores: Out<u32>,
        slices: u32,
    }

    /// The parameters of prefill attention on sm_90.
    "PrefillAttentionSm90Args": PrefillAttentionSm90Args {
        q: TensorMap,
        keys: TensorMap,
        values: TensorMap,
        base: PrefillAttentionArgs,
    }

    /// One copy of a batched memcpy.
    "CopyRun": CopyRun {
        from: In<u32>,
        to: Out<u32>,
        words: u64,
        /// Not 0 for rows of this length whose first words are their numbers of words.
        row_words: u64,
    }

    /// The parameters of a batched memcpy.
    "CopyRunsArgs": CopyRunsArgs {
        runs: [CopyRun; 4],
    }

    /// The request of one row.
    "SampleParams": SampleParams {
        repetition_penalty: f32,
        temperature: f32,
        top_k: u32,
        allowed: u32,
        history_len: u32,
        top_p: f32,
        min_p: f32,
        stop_ids: [u32; SampleRequest::MAX_STOP_IDS],
        stop_factor: f64,
        uniform: f64,
    }

    /// The result of one row.
    "SampleResult": SampleResult {
        status: u32,
        token: u32,
    }

    /// The parameters of both kernels of sampling.
    "SampleArgs": SampleArgs {
        logits: In<f32>,
        params: In<SampleParams>,
        history: In<u32>,
        maxima: Out<u32>,
        results: Out<SampleResult>,
        logits_stride: u32,
        history_stride: u32,
        vocab: u32,
    }
}

/// `Epilogue` of `kernels/common/linear_args.cuh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Epilogue {
    Store,
    Residual,
    QkvRopeGelu,
}

impl Segment {
    pub(crate) const NONE: Self = Self {
        weight: In::NULL,
        table: In::NULL,
        x: In::NULL,
        x_stride: 0,
        blocks: 0,
        groups: 0,
        group_blocks: 1,
        unit_blocks: 1,
    };
}

impl TensorMap {
    /// No tensor.
    pub(crate) const NONE: Self = Self { words: [0; 16] };
}

impl Heads {
    pub(crate) const NONE: Self = Self {
        q: Out::NULL,
        keys: Out::NULL,
        values: Out::NULL,
        positions: In::NULL,
        slots: In::NULL,
        sin: In::NULL,
        cos: In::NULL,
        inner_bias: In::NULL,
        inner: Out::NULL,
        inner_scatter: In::NULL,
        inner_size: 0,
        inner_stride: 0,
        hidden: 0,
        shards: 1,
        num_heads: 1,
        head_dim: 1,
        head_stride: 1,
        rotary_pairs: 0,
    };
}

impl NormTarget {
    pub(crate) const NONE: Self = Self {
        out: Out::NULL,
        scatter: In::NULL,
        stride: 0,
    };
}

impl CopyRunsArgs {
    pub(crate) const NONE: Self = Self {
        runs: [CopyRun {
            from: In::NULL,
            to: Out::NULL,
            words: 0,
            row_words: 0,
        }; 4],
    };
}

impl SampleParams {
    /// No request.
    pub(crate) const NONE: Self = Self {
        repetition_penalty: 1.0,
        temperature: 0.0,
        top_k: 0,
        allowed: 0,
        history_len: 0,
        top_p: 1.0,
        min_p: 0.0,
        stop_ids: [u32::MAX; SampleRequest::MAX_STOP_IDS],
        stop_factor: 1.0,
        uniform: 0.0,
    };
}

// SAFETY: `repr(C)`, and every field is a number or an array of numbers, those of 8 bytes after an
// even number of those of 4 bytes, so there is no padding, and all bytes zero is a value of every
// field.
unsafe impl DeviceRepr for SampleParams {}
// SAFETY: as for `DeviceRepr`.
unsafe impl ValidAsZeroBits for SampleParams {}
// SAFETY: `repr(C)`, and both fields are numbers of 4 bytes, so there is no padding, and all bytes
// zero is a value of both.
unsafe impl DeviceRepr for SampleResult {}
// SAFETY: as for `DeviceRepr`.
unsafe impl ValidAsZeroBits for SampleResult {}

/// Implements [`Arguments`] for structs that are the only parameter of their kernels.
macro_rules! by_value {
    ($($name:ident),+ $(,)?) => { $(
        impl Arguments for $name {
            const PARAMETERS: &'static [usize] = &[size_of::<Self>()];

            fn with_addresses<R>(&self, launch: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
                launch(&mut [(&raw const *self).cast_mut().cast()])
            }
        }
    )+ };
}

by_value! {
    LinearArgs,
    GemmArgs,
    LinearSm90Args,
    DecodeLinearArgs,
    DecodeAttentionArgs,
    KvQuantizeArgs,
    PrefillAttentionArgs,
    PrefillAttentionSm90Args,
    CopyRunsArgs,
    SampleArgs,
    TransposedGemmArgs,
}
