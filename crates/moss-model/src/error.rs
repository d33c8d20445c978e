//! Errors of loading and running a model.

use moss_checkpoint::CheckpointError;
use moss_messages::Message;
use moss_weights::KernelError;

use crate::{ComputeDtype, DeviceSpec, placement::PlacementError};

/// A requirement on a value of `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum NetworkRule {
    /// Greater than 0.
    AboveZero,
    /// At most this.
    AtMost(usize),
    /// At most this, for the kernels of a GPU.
    AtMostOnGpu(usize),
    /// Even, for the kernels of a GPU.
    EvenOnGpu,
    /// Even and at most this, for the kernels of a GPU.
    EvenAtMostOnGpu(usize),
    /// A number of heads that divides the width and the shards of qkv_proj.
    HeadCount {
        /// Shards of qkv_proj.
        shards: usize,
        /// Width of the residual stream.
        hidden_size: usize,
    },
    /// An even number, at most the lanes of a head.
    RotaryDim {
        /// Lanes of a head.
        head_dim: usize,
    },
    /// `gelu_new`, the activation function of MOSS.
    GeluNew,
    /// A small positive number.
    SmallPositive,
    /// Below the size of the vocabulary.
    BelowVocab(usize),
    /// A tensor that synthetic weights contain.
    Synthetic,
}

/// An option that the reference does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum UnsupportedOption {
    /// [`Activations::Int8`](moss_cpu::Activations::Int8).
    Int8Activations,
    /// [`DeviceSpec::Gpu`] with a limit on the architecture.
    GpuCode,
    /// [`KvCacheType::Int8`](crate::KvCacheType::Int8).
    Int8Cache,
}

/// Errors of loading or running a model.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum ModelError {
    /// An invalid value of `config.json`.
    Config {
        /// Key in the file.
        key: &'static str,
        /// Value found.
        found: String,
        /// The rule that it violates.
        expected: NetworkRule,
    },
    /// A tensor of the checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An operation failed or rejected its arguments.
    Kernel {
        /// Layer number from 0; `num_layers` is the final norm and head.
        layer: usize,
        /// The operation.
        op: &'static str,
        /// The cause.
        #[message(cause)]
        source: KernelError,
    },
    /// A sequence would exceed the context length.
    WindowFull {
        /// One past the last requested position.
        end: usize,
        /// Trained positions.
        context_length: usize,
    },
    /// The KV cache has too few free blocks for a sequence.
    CacheFull {
        /// Blocks that the sequence needs in addition.
        needed_blocks: usize,
        /// Free blocks.
        free_blocks: usize,
    },
    /// A chunk has fewer cache blocks than its positions need.
    BlocksMissing {
        /// Index in the batch.
        sequence: usize,
        /// Blocks in its table.
        found: usize,
        /// Blocks that its positions need.
        expected: usize,
    },
    /// A sequence continues after positions that are not in the cache.
    PositionsMissing {
        /// Index in the batch.
        sequence: usize,
        /// Positions in the cache.
        found: usize,
        /// Positions before the chunk.
        expected: usize,
    },
    /// A model whose cache blocks cannot be read and written.
    BlocksNotStored,
    /// A chunk without tokens.
    EmptyChunk {
        /// Index in the batch.
        sequence: usize,
    },
    /// A token id without an embedding row.
    UnknownToken {
        /// The id.
        id: u32,
        /// Embedding rows.
        vocab_size: usize,
    },
    /// A GPU that cannot be used.
    #[error(transparent)]
    Gpu(KernelError),
    /// The layers cannot be placed; nothing was loaded.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// One of several pipeline stages failed.
    Stage {
        /// Stage, from 0.
        stage: usize,
        /// Its device.
        #[message(display)]
        device: DeviceSpec,
        /// The cause.
        #[message(cause)]
        source: Box<ModelError>,
    },
    /// A stage without input: there is no stage, or the stages are not consecutive.
    NoStageInput {
        /// The first layer of the stage.
        layer: usize,
    },
    /// A data type that GPU stages do not support.
    GpuDtype {
        /// The requested type.
        #[message(debug)]
        found: ComputeDtype,
    },
    /// An option that the candle reference does not have.
    Unsupported {
        /// The option.
        option: UnsupportedOption,
    },
    /// The candle reference on a GPU, in a build without candle's CUDA kernels.
    NoCandleCuda {
        /// The GPU.
        #[message(display)]
        device: DeviceSpec,
    },
    /// 8-bit activations with the data type f32.
    ActivationsNotExact,
    /// 8-bit activations on a GPU.
    ActivationsOffCpu {
        /// The GPU.
        #[message(display)]
        device: DeviceSpec,
    },
    /// The caller asked to stop between two layers.
    Interrupted,
    /// A layer's output is inf or NaN.
    NonFinite {
        /// Layer number from 0; `num_layers` is the final norm and head.
        layer: usize,
        /// Index in the batch.
        sequence: usize,
        /// Position of the first non-finite value.
        position: usize,
        /// The value: inf, -inf or NaN.
        value: f32,
    },
}

impl ModelError {
    /// Returns true if the model's device is lost for this process; see [`KernelError::is_fatal`].
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Kernel { source, .. } | Self::Gpu(source) => source.is_fatal(),
            Self::Stage { source, .. } => source.is_fatal(),
            _ => false,
        }
    }
}
