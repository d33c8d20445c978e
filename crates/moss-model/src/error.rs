//! What can go wrong between token ids and logits.

mod zh;

use moss_checkpoint::CheckpointError;
use moss_weights::KernelError;

use crate::{ComputeDtype, DeviceSpec, placement::PlacementError};

/// Errors of loading or running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A value of `config.json` that no network can have.
    #[error("`{key}` in config.json is {found}, expected {expected}")]
    Config {
        /// Key as the file spells it.
        key: &'static str,
        /// Value found.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A tensor of the checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An operation refused its arguments or failed.
    #[error("layer {layer}: `{op}` failed")]
    Kernel {
        /// Layer number from 0; `num_layers` is the final norm and head.
        layer: usize,
        /// The operation.
        op: &'static str,
        /// What it said.
        source: KernelError,
    },
    /// A sequence would pass the positions that the network was trained for.
    #[error("position {end} is past the model's window of {context_length} positions")]
    WindowFull {
        /// One past the last position asked for.
        end: usize,
        /// Trained positions.
        context_length: usize,
    },
    /// The cache has no blocks left for a sequence.
    #[error("the key/value cache is full: {needed_blocks} more blocks needed, {free_blocks} free")]
    CacheFull {
        /// Blocks that the sequence lacks.
        needed_blocks: usize,
        /// Blocks that are free.
        free_blocks: usize,
    },
    /// A chunk came with fewer cache blocks than its positions need.
    #[error("sequence {sequence} of the batch has {found} cache blocks, needs {expected}")]
    BlocksMissing {
        /// Index in the batch.
        sequence: usize,
        /// Blocks in its table.
        found: usize,
        /// Blocks that its positions need.
        expected: usize,
    },
    /// A chunk without tokens.
    #[error("sequence {sequence} of the batch has no tokens to run")]
    EmptyChunk {
        /// Index in the batch.
        sequence: usize,
    },
    /// A token id without an embedding row.
    #[error("token id {id} is outside the model's {vocab_size} embedding rows")]
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
    #[error("stage {stage} on {device} failed")]
    Stage {
        /// Stage, from 0.
        stage: usize,
        /// Where it runs.
        device: DeviceSpec,
        /// What it said.
        source: Box<ModelError>,
    },
    /// Layers without anything in front of them to run on: no device, or an order of stages that
    /// cannot be.
    #[error("layer {layer} got nothing to run on: the stages do not follow each other")]
    NothingHandedOver {
        /// The first layer that got nothing.
        layer: usize,
    },
    /// A rounding that a card does not compute in.
    #[error("GPU kernels round activations to f16, found {found:?}")]
    GpuDtype {
        /// What was asked for.
        found: ComputeDtype,
    },
    /// 8-bit activations where exact values were asked for.
    #[error("8-bit activations are rounded, found F32 for the values between operations")]
    ActivationsNotExact,
    /// 8-bit activations on a card.
    #[error("8-bit activations have kernels for the CPU alone, found {device}")]
    ActivationsOffCpu {
        /// Where they were to run.
        device: DeviceSpec,
    },
    /// The caller asked to stop between two layers.
    #[error("interrupted")]
    Interrupted,
    /// A layer's output is inf or NaN.
    #[error(
        "layer {layer} gave {value} at position {position} of sequence {sequence} of the batch"
    )]
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

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint(),
            Self::Stage { source, .. } => source.hint(),
            Self::WindowFull { .. } => Some("shorten the prompt, or start a new conversation".into()),
            Self::NonFinite { .. } => Some(
                "the weights may be damaged: `moss-cli inspect` checks them; `--dtype f32` rules out overflow".into(),
            ),
            Self::Placement(error) => error.hint(),
            Self::GpuDtype { .. } => Some("leave `--dtype` out, or say `--dtype f16`; `--gpu cpu` knows f32 and bf16".into()),
            Self::ActivationsNotExact => Some("leave `--dtype` out with `--activations int8`, or say `--dtype f16` or `bf16`".into()),
            Self::ActivationsOffCpu { .. } => Some("leave `--activations` out, or say `--gpu cpu`".into()),
            Self::Gpu(error) | Self::Kernel { source: error, .. } => error.hint(),
            _ => None,
        }
    }
}
