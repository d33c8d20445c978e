//! The structs that kernels take by value, field for field as in `kernels/`.

use std::{ffi::c_void, ptr::null};

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use half::f16;
use moss_sampling::TopKRequest;

/// `Segment` of `kernels/common/linear.cuh`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Segment {
    pub(crate) weight: *const u8,
    pub(crate) table: *const u8,
    pub(crate) x: *const f16,
    pub(crate) x_stride: u32,
    pub(crate) blocks: u32,
    pub(crate) groups: u32,
    pub(crate) group_blocks: u32,
    pub(crate) unit_blocks: u32,
}

impl Segment {
    pub(crate) const NONE: Self = Self {
        weight: null(),
        table: null(),
        x: null(),
        x_stride: 0,
        blocks: 0,
        groups: 0,
        group_blocks: 1,
        unit_blocks: 1,
    };
}

/// `Epilogue` of `kernels/common/linear.cuh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Epilogue {
    Store,
    Residual,
    HeadsAndInner,
}

/// `LinearArgs` of `kernels/common/linear.cuh`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct LinearArgs {
    pub(crate) segments: [Segment; 2],
    pub(crate) first_tiles: u32,
    pub(crate) tile_offset: u32,
    pub(crate) rows: u32,
    pub(crate) n: u32,
    pub(crate) epilogue: Epilogue,
    pub(crate) layer: u32,
    pub(crate) out_stride: u64,
    pub(crate) out: *mut f32,
    pub(crate) bias: *const f32,
    pub(crate) non_finite: *mut u64,
    pub(crate) heads: Heads,
}

/// `Heads` of `kernels/common/heads.cuh`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Heads {
    pub(crate) q: *mut f16,
    pub(crate) keys: *mut f16,
    pub(crate) values: *mut f16,
    pub(crate) positions: *const u32,
    pub(crate) slots: *const u32,
    pub(crate) sin: *const f32,
    pub(crate) cos: *const f32,
    pub(crate) inner_bias: *const f32,
    pub(crate) inner: *mut f16,
    pub(crate) inner_scatter: *const u32,
    pub(crate) inner_size: u32,
    pub(crate) inner_stride: u32,
    pub(crate) hidden: u32,
    pub(crate) shards: u32,
    pub(crate) num_heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) head_stride: u32,
    pub(crate) rotary_pairs: u32,
}

impl Heads {
    pub(crate) const NONE: Self = Self {
        q: std::ptr::null_mut(),
        keys: std::ptr::null_mut(),
        values: std::ptr::null_mut(),
        positions: null(),
        slots: null(),
        sin: null(),
        cos: null(),
        inner_bias: null(),
        inner: std::ptr::null_mut(),
        inner_scatter: null(),
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

/// `NormTarget` of `kernels/layer_norm.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct NormTarget {
    pub(crate) out: *mut f16,
    pub(crate) scatter: *const u32,
    pub(crate) stride: u32,
}

impl NormTarget {
    pub(crate) const NONE: Self = Self {
        out: std::ptr::null_mut(),
        scatter: null(),
        stride: 0,
    };
}

/// `DecodeAttentionArgs` of `kernels/attention_decode.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct DecodeAttentionArgs {
    pub(crate) q: *const f16,
    pub(crate) keys: *const f16,
    pub(crate) values: *const f16,
    pub(crate) tables: *const u32,
    pub(crate) rows: *const u32,
    pub(crate) positions: *const u32,
    pub(crate) parts: *mut f32,
    pub(crate) tickets: *mut u32,
    pub(crate) out: *mut f16,
    pub(crate) scatter: *const u32,
    pub(crate) max_blocks: u32,
    pub(crate) heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) stride: u32,
    pub(crate) out_stride: u32,
    pub(crate) scale: f32,
}

/// `PrefillAttentionArgs` of `kernels/attention_prefill.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct PrefillAttentionArgs {
    pub(crate) q: *const f16,
    pub(crate) keys: *const f16,
    pub(crate) values: *const f16,
    pub(crate) tables: *const u32,
    pub(crate) tiles: *const u32,
    pub(crate) out: *mut f16,
    pub(crate) scatter: *const u32,
    pub(crate) max_blocks: u32,
    pub(crate) heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) stride: u32,
    pub(crate) out_stride: u32,
    pub(crate) scale: f32,
}

/// `DequantizeArgs` of `kernels/dequantize.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct DequantizeArgs {
    pub(crate) weight: *const u8,
    pub(crate) table: *const u8,
    pub(crate) out: *mut f16,
    pub(crate) blocks: u32,
    pub(crate) groups: u32,
    pub(crate) group_magic: u32,
    pub(crate) first_tile: u32,
    pub(crate) tiles: u32,
    pub(crate) first_block: u32,
    pub(crate) panel_blocks: u32,
}

/// `MatmulArgs` of `kernels/matmul_packed.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct MatmulArgs {
    pub(crate) weight: *const u8,
    pub(crate) table: *const u8,
    pub(crate) x: *const f16,
    pub(crate) y: *mut c_void,
    pub(crate) turns: *mut u32,
    pub(crate) tiles: u32,
    pub(crate) blocks: u32,
    pub(crate) groups: u32,
    pub(crate) group_magic: u32,
    pub(crate) outputs: u32,
    pub(crate) n: u32,
    pub(crate) x_stride: u32,
    pub(crate) y_stride: u32,
    pub(crate) splits: u32,
}

/// `CopyRun` of `kernels/copy_runs.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct CopyRun {
    pub(crate) from: *const u32,
    pub(crate) to: *mut u32,
    pub(crate) words: u64,
}

/// `CopyRunsArgs` of `kernels/copy_runs.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct CopyRunsArgs {
    pub(crate) runs: [CopyRun; 4],
}

impl Default for CopyRunsArgs {
    fn default() -> Self {
        Self {
            runs: [CopyRun {
                from: std::ptr::null(),
                to: std::ptr::null_mut(),
                words: 0,
            }; 4],
        }
    }
}

/// `SampleParams` of `kernels/sample_cut.cu`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct TopKParams {
    pub(crate) repetition_penalty: f32,
    pub(crate) temperature: f32,
    pub(crate) top_k: u32,
    pub(crate) allowed: u32,
    pub(crate) history_len: u32,
}

/// `SampleAnswer` of `kernels/sample_cut.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct TopKResult {
    pub(crate) status: u32,
    pub(crate) kept: u32,
    unused: [u32; 6],
    /// Id and bits of the score.
    pub(crate) candidates: [[u32; 2]; TopKRequest::MAX_CANDIDATES],
}

/// `SampleCutArgs` of `kernels/sample_cut.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct TopKArgs {
    pub(crate) logits: *const f32,
    pub(crate) params: *const TopKParams,
    pub(crate) history: *const u32,
    pub(crate) keys: *mut u32,
    pub(crate) maxima: *mut u32,
    pub(crate) found: *mut u64,
    pub(crate) states: *mut u64,
    pub(crate) results: *mut TopKResult,
    pub(crate) logits_stride: u32,
    pub(crate) history_stride: u32,
    pub(crate) vocab: u32,
}

// SAFETY: plain numbers without padding, of which zero is a value.
unsafe impl DeviceRepr for TopKParams {}
// SAFETY: as above.
unsafe impl ValidAsZeroBits for TopKParams {}
// SAFETY: as above.
unsafe impl DeviceRepr for TopKResult {}
// SAFETY: as above.
unsafe impl ValidAsZeroBits for TopKResult {}

const _: () = assert!(size_of::<TopKParams>() == 20 && size_of::<TopKResult>() == 4096);
const _: () = assert!(size_of::<TopKArgs>() == 80 && size_of::<CopyRunsArgs>() == 96);
