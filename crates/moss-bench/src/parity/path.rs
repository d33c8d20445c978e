//! The kernels that a case compares.

use moss_weights::LinearWeight;

use super::weights::{Stored, as_multiplied};

/// The kernels of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Those of decode (GEMV).
    Decode,
    /// Those of prefill (GEMM).
    Prefill,
}

impl Path {
    /// Returns the name of the kernels for a format.
    pub(super) fn kernel(self, stored: Stored) -> &'static str {
        match self {
            Self::Decode => stored.linear(),
            Self::Prefill => stored.gemm(),
        }
    }

    /// Returns the weight that is multiplied: in prefill, a packed one is rounded to f16.
    pub(super) fn multiplied(self, weight: &LinearWeight) -> LinearWeight {
        match self {
            Self::Decode => weight.clone(),
            Self::Prefill => as_multiplied(weight),
        }
    }
}
