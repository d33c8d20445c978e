//! The data types of activations and KV cache.

use candle_core::DType;
#[cfg(feature = "cuda")]
use moss_cuda::KvFormat;

/// The type that values between two operations, and the KV cache, are rounded to. Sums and the
/// residual stream are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeDtype {
    /// No rounding, and a KV cache of twice the size; on the CPU only.
    #[default]
    F32,
    /// The type of the published model on a GPU.
    F16,
    /// The range of f32 with eight bits of precision; on the CPU only.
    BF16,
}

impl ComputeDtype {
    /// Returns the bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    pub(crate) fn candle(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

/// The type that the KV cache stores keys and values in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvCacheType {
    /// [`LoadOptions::dtype`](crate::LoadOptions::dtype).
    #[default]
    Native,
    /// 8-bit integers with one f16 scale per position and head, which need about half the memory of
    /// f16. Results differ slightly from those of [`KvCacheType::Native`], and have the same batch
    /// invariance.
    Int8,
}

#[cfg(feature = "cuda")]
impl KvCacheType {
    /// Returns the format on a GPU.
    pub(crate) fn on_gpu(self) -> KvFormat {
        match self {
            Self::Native => KvFormat::F16,
            Self::Int8 => KvFormat::Int8,
        }
    }
}
