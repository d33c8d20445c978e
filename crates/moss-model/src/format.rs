//! The format of a network's weights.

use moss_weights::GptqBits;

/// The storage format of the weight matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// Two bytes per weight.
    F16,
    /// GPTQ with this many bits and groups of 128 inputs.
    Gptq(GptqBits),
}

impl std::fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::F16 => f.write_str("fp16"),
            Self::Gptq(bits) => write!(f, "int{}", bits.bits()),
        }
    }
}
