//! What can be wrong with a checkpoint: which thing, what was found, what was expected.

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
    /// The operating system refused.
    Read {
        /// File or folder.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder where a file should be, or the other way round.
    WrongKind {
        /// The path.
        file: PathBuf,
        /// What it is.
        found: FileKind,
        /// What it should be.
        expected: FileRole,
    },
    /// The folder holds no weights.
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The first files in it.
        names: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// A text file stands where weights should be: a git-lfs pointer or a web page.
    NotWeights {
        /// The file.
        file: PathBuf,
        /// What it looks like.
        found: Lookalike,
    },
    /// A JSON file that cannot be read as what it should be.
    Json {
        /// The file.
        file: PathBuf,
        /// What it should be.
        what: FileRole,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value of a configuration file that is missing, or of another kind than it should be.
    ConfigValue {
        /// The file.
        file: PathBuf,
        /// The key, with those of the objects around it.
        key: String,
        /// The value as JSON; `None` if there is none.
        found: Option<String>,
        /// What it should be.
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
        /// Whether both files are the same one.
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
        /// What the tensor shows.
        tensors: Evidence,
    },
    /// A JSON file in another encoding than UTF-8.
    Encoding {
        /// The file.
        file: PathBuf,
        /// Which encoding, or where it is no text.
        #[message(cause)]
        source: moss_unicode::DecodeError,
    },
    /// The index names a file that leaves the folder.
    ShardName {
        /// The index.
        index: PathBuf,
        /// The name.
        shard: String,
    },
    /// A shard named by the index is not there.
    MissingShard {
        /// The index.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// Tensors that it should hold.
        tensors: usize,
    },
    /// An index whose shards are gone, beside weights that are complete.
    StaleIndex {
        /// The index.
        index: PathBuf,
        /// The first missing shard.
        shard: String,
        /// Missing shards.
        missing: usize,
        /// First file of the weights that are complete.
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
        /// What the zip reader said.
        source: zip::result::ZipError,
    },
    /// A PyTorch file in the form from before 2020.
    LegacyTorch {
        /// The file.
        file: PathBuf,
    },
    /// A zip entry that does not lie in the file as it is.
    ZipEntry {
        /// The file.
        file: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        found: EntryFault,
    },
    /// A record of a PyTorch file whose bytes are not those that were written.
    Checksum {
        /// The file.
        file: PathBuf,
        /// Name of the zip entry.
        record: String,
        /// The first tensors that it holds.
        tensors: Vec<String>,
        /// Checksum of the bytes.
        found: u32,
        /// Checksum in the zip directory.
        expected: u32,
    },
    /// The pickle inside a PyTorch file is not a plain state dict.
    Pickle {
        /// The file.
        file: PathBuf,
        /// Which opcode or name, where.
        source: PickleError,
    },
    /// A safetensors header that does not hold.
    Safetensors {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// A tensor reaches past its storage.
    TensorBounds {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Bytes it reaches to.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A weight file cannot be written.
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[message(kind)]
        source: std::io::Error,
    },
    /// A writer was given more or fewer bytes than its tensors have.
    WrongLength {
        /// The file.
        file: PathBuf,
        /// Bytes too many, or too few if negative.
        excess: i64,
    },
    /// A file that was written holds something else.
    NotAsPlanned {
        /// The file.
        file: PathBuf,
        /// The first tensor that differs.
        name: String,
    },
    /// The network needs a tensor that is not there.
    MissingTensor {
        /// The tensor.
        name: String,
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A tensor of another shape than the config asks for.
    Shape {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its shape.
        #[message(debug)]
        found: Vec<usize>,
        /// The shape it should have.
        #[message(debug)]
        expected: Vec<usize>,
    },
    /// A tensor of another type.
    Dtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its type.
        #[message(display)]
        found: DType,
        /// What it should be.
        expected: DtypeRule,
    },
    /// A tensor of a type that no MOSS checkpoint has.
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// The type, in the file's own word.
        found: String,
    },
    /// inf or NaN where none may be.
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
    /// A bias of a layer that has none in this network.
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
    /// Groups that begin in the middle of a packed word.
    GroupAlignment {
        /// The `scales` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Inputs of a group.
        group_size: usize,
        /// Weights of a packed word.
        multiple: usize,
    },
    /// An input feature that belongs to no group.
    Group {
        /// The `g_idx` tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Input feature.
        at: usize,
        /// Group found.
        found: i32,
        /// Last group there is.
        last: usize,
    },
    /// Packed weights of a width that no kernel reads.
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
    /// Groups whose size neither a file nor an index states.
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
    /// Group sizes that do not agree.
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
