//! What can go wrong between two checkpoints.

mod zh;

use std::path::PathBuf;

use moss_checkpoint::CheckpointError;
use moss_model::{DeviceSpec, ModelError};
use moss_text::TextError;
use moss_weights::KernelError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
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
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// "read", "create", "rename" …
        what: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something stands where the new folder should be.
    #[error("`{}` is there already, expected a new name or an empty folder", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A folder that is not replaced, not even by a caller who asked for it.
    #[error("`{}` {why}, so it is not replaced", path.display())]
    NotReplaced {
        /// The folder.
        path: PathBuf,
        /// "is not a checkpoint folder" or "holds the checkpoint to read".
        why: &'static str,
    },
    /// Something in the folder to replace that is no part of a checkpoint, such as a user's notes.
    #[error("`{}` is not part of a checkpoint, so its folder is not replaced", path.display())]
    ForeignFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another process writes the same folder.
    #[error("another process is writing `{}`", path.display())]
    Busy {
        /// The unfinished folder.
        path: PathBuf,
    },
    /// The disk cannot hold the new folder.
    #[error(
        "`{}` needs {:.1} GB of disk, found {:.1} GB free",
        path.display(), *needed as f64 / 1e9, *free as f64 / 1e9
    )]
    DiskSpace {
        /// The unfinished folder.
        path: PathBuf,
        /// Bytes still to be written, and a little to spare.
        needed: u64,
        /// Bytes that the disk has.
        free: u64,
    },
    /// A file reads back with other bytes than were written.
    #[error("`{}` reads back as {found}, expected {expected} (SHA-256 of its tensors)", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Digest of what was read.
        found: String,
        /// Digest of what was written.
        expected: String,
    },
    /// The checkpoint's linear layers are packed already.
    #[error("`{}` is quantised to {bits} bits already, expected an fp16 checkpoint", folder.display())]
    AlreadyQuantized {
        /// The checkpoint.
        folder: PathBuf,
        /// Bits of its weights.
        bits: u32,
    },
    /// A group size that the packed layout cannot hold.
    #[error("group size {found} does not fit layers of {in_features} inputs in {bits} bits, expected a multiple of {}", 32 / bits)]
    GroupSize {
        /// What was asked for.
        found: usize,
        /// Inputs of the layer.
        in_features: usize,
        /// Bits of a weight.
        bits: u32,
    },
    /// A weight so large that no f16 scale covers its group.
    #[error("`{linear}` has weights that are no numbers, or too large for a scale in f16")]
    TooWide {
        /// Stem of the layer's names.
        linear: String,
    },
    /// The inputs of a layer do not determine a factor of their Hessian.
    #[error(
        "the inputs of `{linear}` have no positive definite Hessian, in spite of dampening by {dampening}"
    )]
    NotPositive {
        /// Stem of the layer's names.
        linear: String,
        /// Share of the mean diagonal that was added.
        dampening: f64,
    },
    /// An operation on the way from weights to packed weights failed.
    #[error("layer {layer} could not be quantised")]
    Kernel {
        /// Layer number from 0.
        layer: usize,
        /// What failed.
        source: KernelError,
    },
    /// A card has no room for a layer, its calibration and its Hessians.
    #[error(
        "layer {layer} needs more memory than {device} has: {:.1} GiB were free, of {:.1}",
        gibibytes(*free), gibibytes(*total)
    )]
    OutOfMemory {
        /// Layer number from 0.
        layer: usize,
        /// The card.
        device: DeviceSpec,
        /// Bytes that were free at the beginning.
        free: u64,
        /// Bytes of the card.
        total: u64,
    },
    /// A text in another encoding than UTF-8.
    #[error("cannot read `{}` as text", file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// Which encoding, or where it is no text.
        source: moss_unicode::DecodeError,
    },
    /// A line that is neither a dialogue nor a text.
    #[error("line {line} of `{}` is neither a dialogue nor a text", file.display())]
    Sample {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Where and why.
        source: serde_json::Error,
    },
    /// No token to calibrate or measure with.
    #[error("no tokens to work with in {what}")]
    NoSamples {
        /// "the calibration texts" or "the texts to measure".
        what: &'static str,
    },
    /// A window that nothing can be predicted in.
    #[error(
        "windows of {window} tokens every {stride} tokens, expected 2 to {context_length} and a stride of 1 to half of the window"
    )]
    Windows {
        /// Tokens of a window.
        window: usize,
        /// Tokens between the beginnings of two windows.
        stride: usize,
        /// Positions of the model.
        context_length: usize,
    },
    /// Two models of different vocabularies.
    #[error("the two models have {first} and {second} vocabulary rows, expected the same")]
    Vocabularies {
        /// Rows of the reference.
        first: usize,
        /// Rows of the other.
        second: usize,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl QuantizeError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Checkpoint(error) => return error.hint(),
            Self::Model(error) => return error.hint(),
            Self::Text(error) => return error.hint(),
            Self::Kernel { source, .. } => return source.hint(),
            Self::OutOfMemory { .. } => {
                "close what else uses the card, name another with `--gpu`, or work on the CPU: `--gpu cpu`".into()
            }
            Self::Exists { .. } => "name another folder, remove that one, or replace it with `--force`".into(),
            Self::NotReplaced { .. } => "name another folder".into(),
            Self::ForeignFile { .. } => "move it elsewhere, or name another folder".into(),
            Self::Decode { source, .. } => return source.hint(),
            Self::Busy { .. } => "wait for it, or name another folder".into(),
            Self::DiskSpace { .. } => {
                "make room, or name a folder on another disk".into()
            }
            Self::Damaged { .. } => "the disk or the memory may be failing; write to another disk".into(),
            Self::AlreadyQuantized { .. } => {
                "quantise the fp16 checkpoint; `moss-cli convert` changes the container alone".into()
            }
            Self::GroupSize { .. } => "128 is the published size; -1 is one group a layer".into(),
            Self::NotPositive { .. } => "use more calibration text, or `--method rtn`".into(),
            Self::Sample { .. } => {
                r#"a line is {"turns": [{"user": "…", "moss": "…"}]} or {"text": "…"}; a file that does not end in .jsonl is one text"#
                    .into()
            }
            _ => return None,
        })
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
