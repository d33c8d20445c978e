//! What can go wrong between two checkpoints.

use std::path::PathBuf;

use moss_checkpoint::CheckpointError;
use moss_messages::Message;
use moss_model::{DeviceSpec, ModelError};
use moss_text::TextError;
use moss_weights::KernelError;

/// What was done to a file or a folder when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FolderAction {
    /// Copying it.
    Copy,
    /// Creating it.
    Create,
    /// Measuring the free space of its disk.
    Measure,
    /// Reading it.
    Read,
    /// Removing it.
    Remove,
    /// Giving it its final name.
    Rename,
    /// Replacing it.
    Replace,
    /// Writing it.
    Write,
}

/// Why a folder is not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum NotReplaceable {
    /// It is not a checkpoint folder.
    NotCheckpoint,
    /// It holds the checkpoint that is read.
    IsSource,
}

/// A set of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum TextSet {
    /// The texts to calibrate with.
    Calibration,
    /// The texts to measure the perplexity of.
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
    /// A text could not be tokenised.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The operating system refused.
    Io {
        /// What was done.
        what: FolderAction,
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something stands where the new folder should be.
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A folder that is not replaced, not even by a caller who asked for it.
    NotReplaced {
        /// The folder.
        path: PathBuf,
        /// Why not.
        why: NotReplaceable,
    },
    /// Something in the folder to replace that is no part of a checkpoint, such as a user's notes.
    ForeignFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another process writes the same folder.
    Busy {
        /// The unfinished folder.
        path: PathBuf,
    },
    /// The disk cannot hold the new folder.
    DiskSpace {
        /// The unfinished folder.
        path: PathBuf,
        /// Bytes still to be written, and a little to spare.
        needed: u64,
        /// Bytes that the disk has.
        free: u64,
    },
    /// A file reads back with other bytes than were written.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Digest of what was read.
        found: String,
        /// Digest of what was written.
        expected: String,
    },
    /// The checkpoint's linear layers are packed already.
    AlreadyQuantized {
        /// The checkpoint.
        folder: PathBuf,
        /// Bits of its weights.
        bits: u32,
    },
    /// A group size that the packed layout cannot hold.
    GroupSize {
        /// What was asked for.
        found: usize,
        /// Inputs of the layer.
        in_features: usize,
        /// Bits of a weight.
        bits: u32,
        /// Weights of a packed word.
        multiple: u32,
    },
    /// A weight so large that no f16 scale covers its group.
    TooWide {
        /// Stem of the layer's names.
        linear: String,
    },
    /// The inputs of a layer do not determine a factor of their Hessian.
    NotPositive {
        /// Stem of the layer's names.
        linear: String,
        /// Share of the mean diagonal that was added.
        dampening: f64,
    },
    /// An operation on the way from weights to packed weights failed.
    Kernel {
        /// Layer number from 0.
        layer: usize,
        /// What failed.
        #[message(cause)]
        source: KernelError,
    },
    /// A card has no room for a layer, its calibration and its Hessians.
    OutOfMemory {
        /// Layer number from 0.
        layer: usize,
        /// The card.
        #[message(display)]
        device: DeviceSpec,
        /// Bytes that were free at the beginning.
        free: u64,
        /// Bytes of the card.
        total: u64,
    },
    /// A text in another encoding than UTF-8.
    Decode {
        /// The file.
        file: PathBuf,
        /// Which encoding, or where it is no text.
        #[message(cause)]
        source: moss_unicode::DecodeError,
    },
    /// A line that is neither a dialogue nor a text.
    Sample {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Where and why.
        source: serde_json::Error,
    },
    /// No token to calibrate or measure with.
    NoSamples {
        /// Which texts.
        what: TextSet,
    },
    /// A window that nothing can be predicted in.
    Windows {
        /// Tokens of a window.
        window: usize,
        /// Tokens between the beginnings of two windows.
        stride: usize,
        /// Positions of the model.
        context_length: usize,
    },
    /// Two models of different vocabularies.
    Vocabularies {
        /// Rows of the reference.
        first: usize,
        /// Rows of the other.
        second: usize,
    },
    /// The caller asked to stop.
    Interrupted,
}
