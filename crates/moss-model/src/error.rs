//! What can go wrong between token ids and logits.

/// Errors of loading or running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
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
    /// A token id without an embedding row.
    #[error("token id {id} is outside the model's {vocab_size} embedding rows")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Embedding rows.
        vocab_size: usize,
    },
    /// The caller asked to stop between two layers.
    #[error("interrupted")]
    Interrupted,
    /// A layer's output is inf or NaN.
    #[error("layer {layer} gave {value} at position {position}")]
    NonFinite {
        /// Layer number from 0; `num_layers` is the final norm and head.
        layer: usize,
        /// Position of the first bad row.
        position: usize,
        /// What was found: inf, -inf or NaN.
        value: f32,
    },
}

impl ModelError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::WindowFull { .. } => Some("shorten the prompt, or start a new conversation".into()),
            Self::NonFinite { .. } => Some("the weights may be damaged: `moss-cli inspect` checks them; a run with `--dtype f32` rules out overflow".into()),
            _ => None,
        }
    }
}
