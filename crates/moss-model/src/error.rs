//! What can go wrong between token ids and logits.

use moss_checkpoint::CheckpointError;
use moss_messages::Message;
use moss_weights::KernelError;

use crate::{ComputeDtype, DeviceSpec, placement::PlacementError};

/// What a value of `config.json` has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum NetworkRule {
    /// Above 0.
    AboveZero,
    /// At most this.
    AtMost(usize),
    /// At most this, for the kernels of a GPU.
    AtMostOnGpu(usize),
    /// A number of heads that the fused projection can be split by.
    HeadCount {
        /// Parts of the fused projection.
        shards: usize,
        /// The width that the heads share.
        hidden_size: usize,
    },
    /// An even number of a head's dimensions.
    RotaryDim {
        /// Dimensions of a head.
        head_dim: usize,
    },
    /// `gelu_new`, MOSS's activation.
    GeluNew,
    /// A small number above 0.
    SmallPositive,
    /// Below the size of the vocabulary.
    BelowVocab(usize),
    /// A tensor that synthetic weights have.
    Synthetic,
}

/// Errors of loading or running a model.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum ModelError {
    /// A value of `config.json` that no network can have.
    Config {
        /// Key as the file spells it.
        key: &'static str,
        /// Value found.
        found: String,
        /// What it has to be.
        expected: NetworkRule,
    },
    /// A tensor of the checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An operation refused its arguments or failed.
    Kernel {
        /// Layer number from 0; `num_layers` is the final norm and head.
        layer: usize,
        /// The operation.
        op: &'static str,
        /// What it said.
        #[message(cause)]
        source: KernelError,
    },
    /// A sequence would pass the positions that the network was trained for.
    WindowFull {
        /// One past the last position asked for.
        end: usize,
        /// Trained positions.
        context_length: usize,
    },
    /// The cache has no blocks left for a sequence.
    CacheFull {
        /// Blocks that the sequence lacks.
        needed_blocks: usize,
        /// Blocks that are free.
        free_blocks: usize,
    },
    /// A chunk came with fewer cache blocks than its positions need.
    BlocksMissing {
        /// Index in the batch.
        sequence: usize,
        /// Blocks in its table.
        found: usize,
        /// Blocks that its positions need.
        expected: usize,
    },
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
    /// A card that cannot be used.
    #[error(transparent)]
    Gpu(KernelError),
    /// Layers that cannot be shared out so; nothing was loaded.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A stage of the pipeline failed, of several.
    Stage {
        /// Stage, from 0.
        stage: usize,
        /// Where it runs.
        #[message(display)]
        device: DeviceSpec,
        /// What it said.
        #[message(cause)]
        source: Box<ModelError>,
    },
    /// Layers without anything in front of them to run on: no device, or an order of stages that
    /// cannot be.
    NothingHandedOver {
        /// The first layer that got nothing.
        layer: usize,
    },
    /// A rounding that a card does not compute in.
    GpuDtype {
        /// What was asked for.
        #[message(debug)]
        found: ComputeDtype,
    },
    /// 8-bit activations where exact values were asked for.
    ActivationsNotExact,
    /// 8-bit activations on a card.
    ActivationsOffCpu {
        /// Where they were to run.
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
        /// Position of the first bad row: the step that failed.
        position: usize,
        /// What was found: inf, -inf or NaN.
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
