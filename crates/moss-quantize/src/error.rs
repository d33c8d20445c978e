//! Errors of conversion, quantization and evaluation.

use std::path::PathBuf;

use moss_checkpoint::CheckpointError;
use moss_messages::Message;
use moss_model::{DeviceSpec, ModelError};
use moss_text::TextError;
use moss_weights::KernelError;

/// The operation on a file or folder that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FolderAction {
    /// Copy.
    Copy,
    /// Creation.
    Create,
    /// Measurement of the free disk space.
    Measure,
    /// Read.
    Read,
    /// Removal.
    Remove,
    /// Rename to the final name.
    Rename,
    /// Replacement.
    Replace,
    /// Write.
    Write,
}

/// A reason not to replace a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum NotReplaceable {
    /// It is not a checkpoint folder.
    NotCheckpoint,
    /// It contains the source checkpoint.
    IsSource,
}

/// A set of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum TextSet {
    /// Calibration texts.
    Calibration,
    /// Texts to measure the perplexity of.
    Measured,
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum QuantizeError {
    /// A tensor could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The network could not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A text could not be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file operation failed.
    Io {
        /// The operation.
        what: FolderAction,
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The path of the new folder exists already.
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A folder that is not replaced, even if the caller requested it.
    NotReplaced {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: NotReplaceable,
    },
    /// The folder to replace contains a file that is not part of a checkpoint, such as a user's notes.
    ForeignFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another process writes the same folder.
    Busy {
        /// The unfinished folder.
        path: PathBuf,
    },
    /// The disk has too little free space for the new folder.
    DiskSpace {
        /// The unfinished folder.
        path: PathBuf,
        /// Bytes still to be written, with a margin.
        needed: u64,
        /// Free bytes of the disk.
        free: u64,
    },
    /// A file that was read back differs from what was written.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Digest of the bytes read.
        found: String,
        /// Digest of the bytes written.
        expected: String,
    },
    /// The checkpoint is quantized already.
    AlreadyQuantized {
        /// The checkpoint.
        folder: PathBuf,
        /// Bits of its weights.
        bits: u32,
    },
    /// A group size that the packed layout does not support.
    GroupSize {
        /// The requested group size.
        found: usize,
        /// Inputs of the layer.
        in_features: usize,
        /// Bits of a weight.
        bits: u32,
        /// Weights per packed word.
        multiple: u32,
    },
    /// A weight that is too large for an f16 scale.
    TooWide {
        /// Name of the linear layer.
        linear: String,
    },
    /// A layer's Hessian is not positive definite.
    NotPositive {
        /// Name of the linear layer.
        linear: String,
        /// Fraction of the mean diagonal that was added.
        dampening: f64,
    },
    /// A matrix operation of the quantization failed.
    Kernel {
        /// Layer number from 0.
        layer: usize,
        /// The cause.
        #[message(cause)]
        source: KernelError,
    },
    /// A GPU has too little memory for a layer, its calibration and its Hessians.
    OutOfMemory {
        /// Layer number from 0.
        layer: usize,
        /// The GPU.
        #[message(display)]
        device: DeviceSpec,
        /// Bytes that were free at the start.
        free: u64,
        /// Total bytes of the GPU.
        total: u64,
    },
    /// A text that is not UTF-8.
    Decode {
        /// The file.
        file: PathBuf,
        /// The encoding found, or the position of the invalid bytes.
        #[message(cause)]
        source: moss_unicode::DecodeError,
    },
    /// A line that is neither a dialogue nor a text.
    Sample {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Position and cause.
        source: serde_json::Error,
    },
    /// No tokens to calibrate or measure with.
    NoSamples {
        /// The texts without tokens.
        what: TextSet,
    },
    /// Windows in which no token can be predicted.
    Windows {
        /// Tokens of a window.
        window: usize,
        /// Tokens from the start of one window to the start of the next.
        stride: usize,
        /// Positions of the model.
        context_length: usize,
    },
    /// Two models with different vocabularies.
    Vocabularies {
        /// Vocabulary size of the reference.
        first: usize,
        /// Vocabulary size of the other model.
        second: usize,
    },
    /// The caller asked to stop.
    Interrupted,
}
