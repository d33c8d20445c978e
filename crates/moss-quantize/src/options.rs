//! Options, reports and progress events of [`crate::quantize()`].

use moss_checkpoint::{Container, WeightStorage};
use moss_model::DeviceSpec;
use moss_weights::GptqBits;

use crate::Sample;

/// A rounding method.
#[derive(Debug, Clone)]
pub enum Method {
    /// Round to nearest: fast, needs no calibration text.
    Nearest,
    /// GPTQ: changes the outputs on calibration text as little as possible.
    Gptq {
        /// Calibration texts.
        samples: Vec<Sample>,
        /// Round the weights of the strongest inputs first. This is more accurate, but the inputs of
        /// a group are then not contiguous (`g_idx`).
        act_order: bool,
        /// Fraction of the Hessian's mean diagonal that is added to its diagonal; 0.01 in the paper.
        dampening: f64,
    },
}

/// Options of [`crate::quantize()`].
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Bits of a weight.
    pub bits: GptqBits,
    /// Inputs that share a scale and a zero point; `None` for one group per layer. The published
    /// checkpoints use 128.
    pub group_size: Option<usize>,
    /// The rounding method.
    pub method: Method,
    /// The device of GPTQ's matrix products. The CPU rounds, in both methods.
    pub device: DeviceSpec,
    /// The container to write.
    pub container: Container,
    /// Maximum bytes of tensors in a shard. The published quantized checkpoints are one file each.
    pub max_shard_bytes: u64,
    /// Storage of the source's weights while they are quantized.
    pub storage: WeightStorage,
    /// Replace a checkpoint in the target folder once the new one is complete.
    pub replace: bool,
}

/// Errors of one linear layer after rounding.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinearReport {
    /// Prefix of its tensors' names, such as `transformer.h.3.attn.qkv_proj`.
    pub linear: String,
    /// Squared error of the weights, relative to their squares.
    pub weight_error: f64,
    /// Squared error of the outputs on the calibration inputs, relative to their squares; only for
    /// GPTQ. Includes the dampening.
    pub output_error: Option<f64>,
}

/// Progress: `Started`, then for each layer four `Linear` and one `Layer`, then `Finished` unless an
/// error is returned.
#[derive(Debug, Clone, PartialEq)]
pub enum QuantizeEvent {
    /// The sizes are known.
    Started {
        /// Layers of the model.
        layers: usize,
        /// Calibration tokens.
        tokens: usize,
    },
    /// A linear layer was rounded.
    Linear(LinearReport),
    /// A layer was written.
    Layer {
        /// Layers written so far.
        done: usize,
    },
    /// The folder was renamed to its final name.
    Finished,
}
