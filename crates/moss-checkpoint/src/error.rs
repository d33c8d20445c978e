//! Errors of reading and writing checkpoints.

mod kinds;

use std::path::PathBuf;

use moss_files::FileKind;
use moss_messages::Message;

pub use self::kinds::{ConfigRule, DtypeRule, EntryFault, Evidence, FileRole, Lookalike};
use crate::{DType, PickleError};

/// Errors of opening a checkpoint or reading its tensors.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder cannot be read.
    Read {
        /// File or folder.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A folder instead of a file, or the reverse.
    WrongKind {
        /// The path.
        file: PathBuf,
        /// The kind found.
        found: FileKind,
        /// The file that was expected.
        expected: FileRole,
    },
    /// The folder holds no weights.
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The first files in it.
        names: Vec<String>,
        /// The number of other files.
        more: usize,
    },
    /// A text file in place of weights: a git-lfs pointer or a web page.
    NotWeights {
        /// The file.
        file: PathBuf,
        /// The kind of text.
        found: Lookalike,
    },
    /// A JSON file that cannot be parsed.
    Json {
        /// The file.
        file: PathBuf,
        /// The role of the file.
        what: FileRole,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// A value of a configuration file that is missing or invalid.
    ConfigValue {
        /// The file.
        file: PathBuf,
        /// The key, with those of the enclosing objects.
        key: String,
        /// The value as JSON; `None` if there is none.
        found: Option<String>,
        /// The value expected.
        expected: ConfigRule,
    },
    /// Two configuration files, or two keys of one, contradict each other.
    ConfigConflict {
        /// The key.
        key: &'static str,
        /// One file.
        first: PathBuf,
        /// Its value.
        first_value: String,
        /// The key in the other file: the same, or another name for it.
        second_key: &'static str,
        /// The other file; the same for two keys of one file.
        second: PathBuf,
        /// Its value.
        second_value: String,
        /// Is true if both keys are in the same file.
        is_same_file: bool,
    },
    /// A configuration file and a tensor contradict each other.
    ConfigMismatch {
        /// The key.
        key: &'static str,
        /// The configuration file.
        config_file: PathBuf,
        /// Its value.
        config: String,
        /// The tensor.
        name: String,
        /// The weight file.
        file: PathBuf,
        /// The value that the tensor shows.
        tensors: Evidence,
    },
    /// A JSON file in another encoding than UTF-8.
    Encoding {
        /// The file.
        file: PathBuf,
        /// The encoding, or the offset of the first invalid byte.
        #[message(cause)]
        source: moss_unicode::DecodeError,
    },
    /// The index names a file outside the folder.
    ShardName {
        /// The index.
        index: PathBuf,
        /// The name.
        shard: String,
    },
    /// A shard named by the index is missing.
    MissingShard {
        /// The index.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// The number of tensors in it, by the index.
        tensors: usize,
    },
    /// An index with missing shards, in a folder with another, complete set of weights.
    StaleIndex {
        /// The index.
        index: PathBuf,
        /// The first missing shard.
        shard: String,
        /// The number of missing shards.
        missing: usize,
        /// First file of the complete set.
        complete: String,
    },
    /// A tensor is not in the shard that the index names.
    MisplacedTensor {
        /// The tensor.
        name: String,
        /// The shard.
        file: PathBuf,
    },
    /// Two files hold a tensor of the same name.
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A PyTorch file whose zip directory cannot be read.
    Zip {
        /// The file.
        file: PathBuf,
        /// The error of the zip reader.
        source: zip::result::ZipError,
    },
    /// A PyTorch file in the format before PyTorch 1.6.
    LegacyTorch {
        /// The file.
        file: PathBuf,
    },
    /// A zip entry that is not stored uncompressed within the file.
    ZipEntry {
        /// The file.
        file: PathBuf,
        /// The entry.
        entry: String,
        /// The fault.
        found: EntryFault,
    },
    /// A record of a PyTorch file whose bytes do not match their checksum.
    Checksum {
        /// The file.
        file: PathBuf,
        /// Name of the zip entry.
        record: String,
        /// The first tensors in it.
        tensors: Vec<String>,
        /// CRC-32 of the bytes.
        found: u32,
        /// CRC-32 in the zip directory.
        expected: u32,
    },
    /// The pickle inside a PyTorch file is not a plain state dict.
    Pickle {
        /// The file.
        file: PathBuf,
        /// The opcode or name, with its offset.
        source: PickleError,
    },
    /// A safetensors file whose header is invalid.
    Safetensors {
        /// The file.
        file: PathBuf,
        /// The reader's error.
        source: safetensors::SafeTensorError,
    },
    /// A tensor extends past its storage.
    TensorBounds {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// The end of the tensor, in bytes.
        needed: u64,
        /// Length of the storage, in bytes.
        found: u64,
    },
    /// A weight file cannot be written.
    Write {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[message(kind)]
        source: std::io::Error,
    },
    /// A writer received more or fewer bytes than its tensors have.
    WrongLength {
        /// The file.
        file: PathBuf,
        /// Bytes too many, or too few if negative.
        excess: i64,
    },
    /// A written file does not hold the planned tensors.
    NotAsPlanned {
        /// The file.
        file: PathBuf,
        /// The first tensor that differs.
        name: String,
    },
    /// A tensor that the network needs is missing.
    MissingTensor {
        /// The tensor.
        name: String,
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A tensor whose shape differs from the one that the configuration gives.
    Shape {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its shape.
        #[message(debug)]
        found: Vec<usize>,
        /// The shape expected.
        #[message(debug)]
        expected: Vec<usize>,
    },
    /// A tensor of the wrong type.
    Dtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its type.
        #[message(display)]
        found: DType,
        /// The types expected.
        expected: DtypeRule,
    },
    /// A tensor of a type that no MOSS checkpoint has.
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// The type, as the file names it.
        found: String,
    },
    /// A tensor with an inf or NaN.
    NonFinite {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Index of the first one, row-major.
        at: usize,
        /// inf, -inf or NaN.
        value: f32,
    },
    /// A scale that is too small for f16.
    Underflow {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Index of the first one, row-major.
        at: usize,
        /// Its value.
        #[message(debug)]
        value: f32,
    },
    /// A bias of a layer that has no bias in this network.
    UnexpectedBias {
        /// The bias.
        name: String,
        /// The file.
        file: PathBuf,
        /// Index of the first element that is not zero.
        at: usize,
        /// Its value.
        value: f32,
    },
    /// A group that starts in the middle of a packed word.
    GroupAlignment {
        /// The `scales` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Inputs of a group.
        group_size: usize,
        /// Weights per packed word.
        multiple: usize,
    },
    /// A group index out of range.
    Group {
        /// The `g_idx` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Input feature.
        at: usize,
        /// The group found.
        found: i32,
        /// The last group.
        last: usize,
    },
    /// Packed weights of a bit width that kernels do not support.
    BitWidth {
        /// The `qweight` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Rows of 32-bit words.
        rows: usize,
        /// Input features.
        in_features: usize,
    },
    /// Groups whose size neither the configuration nor a group index states.
    GroupSizeUnstated {
        /// The `scales` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Rows of scales.
        groups: usize,
        /// Input features.
        in_features: usize,
        /// The smallest size that fits.
        first: usize,
        /// The next one.
        second: usize,
    },
    /// A number of groups that no group size gives.
    GroupSize {
        /// The `scales` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Rows of scales.
        groups: usize,
        /// Input features.
        in_features: usize,
    },
}
