//! What can be wrong with a checkpoint: which thing, what was found, what was expected.

mod zh;

use std::path::PathBuf;

use crate::{DType, PickleError};

/// Errors of opening a checkpoint or reading its tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// File or folder.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder where a file should be, or the other way round.
    #[error("`{}` is {found}, expected {expected}", file.display())]
    WrongKind {
        /// The path.
        file: PathBuf,
        /// "a folder", "an empty file", "a dangling link" …
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The folder holds no weights.
    #[error("no weights in `{}`: found {found}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What it holds.
        found: String,
    },
    /// A text file stands where weights should be: a git-lfs pointer or a web page.
    #[error("`{}` holds {found}, expected weights", file.display())]
    NotWeights {
        /// The file.
        file: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
    /// A JSON file that cannot be read as what it should be.
    #[error("`{}` is not a readable {what}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// "config.json" or "shard index".
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value of a configuration file that is missing, or of another kind than it should be.
    #[error("`{key}` in `{}` is {found}, expected {expected}", file.display())]
    ConfigValue {
        /// The file.
        file: PathBuf,
        /// The key, with those of the objects around it.
        key: String,
        /// The value as JSON, or "missing".
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Two configuration files, or two keys of one, contradict each other.
    #[error("`{key}` is {first_value} in `{}`, but `{second_key}` is {second_value} in `{}`", first.display(), second.display())]
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
    },
    /// A configuration file and a tensor contradict each other.
    #[error("`{key}` in `{}` is {config}, but `{name}` in `{}` shows {tensors}", config_file.display(), file.display())]
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
        tensors: String,
    },
    /// A JSON file in another encoding than UTF-8.
    #[error("cannot read `{}` as text", file.display())]
    Encoding {
        /// The file.
        file: PathBuf,
        /// Which encoding, or where it is no text.
        source: moss_unicode::DecodeError,
    },
    /// The index names a file that leaves the folder.
    #[error("the index `{}` names `{shard}` as a shard, expected a plain file name", index.display())]
    ShardName {
        /// The index.
        index: PathBuf,
        /// The name.
        shard: String,
    },
    /// A shard named by the index is not there.
    #[error("shard `{shard}` named by `{}` is missing ({tensors} tensors are in it)", index.display())]
    MissingShard {
        /// The index.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// Tensors that it should hold.
        tensors: usize,
    },
    /// An index whose shards are gone, beside weights that are complete.
    #[error("the index `{}` is stale: {missing} file(s) that it names are missing, `{shard}` the first, while `{complete}` is complete", index.display())]
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
    #[error("tensor `{name}` is not in `{}`, where the index says it is", file.display())]
    MisplacedTensor {
        /// The tensor.
        name: String,
        /// The shard.
        file: PathBuf,
    },
    /// Two files hold a tensor of the same name.
    #[error("tensor `{name}` is in both `{}` and `{}`", first.display(), second.display())]
    DuplicateTensor {
        /// The tensor.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A PyTorch file whose zip directory cannot be read.
    #[error("`{}` is not a whole PyTorch file", file.display())]
    Zip {
        /// The file.
        file: PathBuf,
        /// What the zip reader said.
        source: zip::result::ZipError,
    },
    /// A PyTorch file in the form from before 2020.
    #[error("`{}` is in PyTorch's form from before version 1.6", file.display())]
    LegacyTorch {
        /// The file.
        file: PathBuf,
    },
    /// A zip entry that does not lie in the file as it is.
    #[error("entry `{entry}` of `{}` is {found}, expected stored bytes within the file", file.display())]
    ZipEntry {
        /// The file.
        file: PathBuf,
        /// The entry.
        entry: String,
        /// "compressed with …", "missing", "past the end" …
        found: String,
    },
    /// A record of a PyTorch file whose bytes are not those that were written.
    #[error(
        "record `{record}` of `{}` is damaged: its CRC-32 is {found:#010x}, expected {expected:#010x}{}",
        file.display(), holding(tensors)
    )]
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
    #[error("the pickle in `{}` cannot be read", file.display())]
    Pickle {
        /// The file.
        file: PathBuf,
        /// Which opcode or name, where.
        source: PickleError,
    },
    /// A safetensors header that does not hold.
    #[error("`{}` is not a whole safetensors file", file.display())]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// A tensor reaches past its storage.
    #[error("tensor `{name}` in `{}` needs {needed} bytes of its storage, which has {found}", file.display())]
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
    #[error("cannot write `{}`", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A writer was given more or fewer bytes than its tensors have.
    #[error("`{}` was given {excess:+} bytes beyond what its tensors have", file.display())]
    WrongLength {
        /// The file.
        file: PathBuf,
        /// Bytes too many, or too few if negative.
        excess: i64,
    },
    /// A file that was written holds something else.
    #[error("`{}` does not hold the tensors that were written to it: `{name}` differs", file.display())]
    NotAsPlanned {
        /// The file.
        file: PathBuf,
        /// The first tensor that differs.
        name: String,
    },
    /// The network needs a tensor that is not there.
    #[error("tensor `{name}` is missing from `{}`", folder.display())]
    MissingTensor {
        /// The tensor.
        name: String,
        /// The checkpoint.
        folder: PathBuf,
    },
    /// A tensor of another shape than the config asks for.
    #[error("tensor `{name}` in `{}` has shape {found:?}, expected {expected:?}", file.display())]
    Shape {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("tensor `{name}` in `{}` is stored as {found}, expected {expected}", file.display())]
    Dtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Its type.
        found: DType,
        /// What it should be.
        expected: &'static str,
    },
    /// A tensor of a type that no MOSS checkpoint has.
    #[error("tensor `{name}` in `{}` is stored as {found}, expected one of bool, u8, i8 to i64, f16, bf16, f32, f64", file.display())]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// The type, in the file's own word.
        found: String,
    },
    /// inf or NaN where none may be.
    #[error("tensor `{name}` in `{}` holds {value} at element {at}", file.display())]
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
    #[error("tensor `{name}` in `{}` holds {value:e} at element {at}, which becomes 0 in f16", file.display())]
    Underflow {
        /// The tensor.
        name: String,
        /// The file.
        file: PathBuf,
        /// Index of the first one, row-major.
        at: usize,
        /// Its value.
        value: f32,
    },
    /// A bias of a layer that has none in this network.
    #[error("`{name}` in `{}` holds {value} at element {at}, but this layer has no bias", file.display())]
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
    #[error("`{name}` in `{}` has groups of {group_size} inputs, expected a multiple of {multiple}", file.display())]
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
    #[error("`{name}` in `{}` puts input {at} into group {found}, expected 0 to {last}", file.display())]
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
    #[error("`{name}` in `{}` has {rows} packed rows for {in_features} inputs, expected 4 or 8 bits a weight", file.display())]
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
    #[error(
        "`{name}` in `{}` has {groups} groups for {in_features} inputs, and nothing states their size: {first} and {second} both fit",
        file.display()
    )]
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
    #[error("`{name}` in `{}` has {groups} groups for {in_features} inputs, which no group size gives", file.display())]
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

/// The tensors of a record, as a part of a sentence.
fn holding(tensors: &[String]) -> String {
    let names: Vec<_> = tensors.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (it holds {})", names.join(", "))
    }
}

impl CheckpointError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let again = "the file looks cut off or damaged: download it again and compare its size with the hub's";
        Some(match self {
            Self::NoWeights { .. } => {
                "a checkpoint folder holds config.json and pytorch_model*.bin or model*.safetensors".into()
            }
            Self::NotWeights { found, .. } if found.contains("git-lfs") => {
                "run `git lfs pull` in the folder, or download the file itself".into()
            }
            Self::NotWeights { .. }
            | Self::Zip { .. }
            | Self::Safetensors { .. }
            | Self::TensorBounds { .. }
            | Self::Checksum { .. } => again.into(),
            Self::Encoding { source, .. } => return source.hint(),
            Self::WrongKind { found: "an empty file", .. } => again.into(),
            Self::StaleIndex { index, complete, .. } => format!(
                "delete `{}` to use `{complete}`; if the index is the newer one, download the files that it names",
                index.file_name().unwrap_or_default().display()
            ),
            Self::ConfigValue { expected: "gptq" | "gptq or gptq_v2", .. } => {
                "of quantised weights only GPTQ's with 4 or 8 bits can be run: use the published int4 or int8 model, or quantise the fp16 model with `moss-cli quantize`".into()
            }
            Self::ConfigValue { .. } => "compare the file with the one published beside the weights".into(),
            Self::ConfigConflict { first, second, .. } if first == second => {
                "the two keys mean the same: keep the one that the weights were quantised with".into()
            }
            Self::GroupSizeUnstated { .. } => {
                "set `groupsize` in config.json to the group size that the weights were quantised with".into()
            }
            Self::ConfigConflict { .. } => {
                "the files are of different models: keep the one that was written with the weights".into()
            }
            Self::ConfigMismatch { .. } => {
                "the file was edited or is another model's, or a shard is missing: take both from the same place".into()
            }
            Self::UnexpectedBias { .. } => {
                "the weights are of a network with another architecture; MOSS's attention has no biases".into()
            }
            Self::MissingShard { shard, .. } => format!("download `{shard}` into the same folder"),
            Self::LegacyTorch { .. } => "load it with a current PyTorch and `torch.save` it again".into(),
            Self::ZipEntry { found, .. } if found.starts_with("compressed") => {
                "PyTorch stores its entries uncompressed: the file was repacked; use the original".into()
            }
            Self::Pickle { .. } => {
                "only plain state dicts are read, and nothing in a file is ever executed; use the published file".into()
            }
            Self::MissingTensor { .. } => {
                "a shard may be missing from the folder, or config.json may be another model's".into()
            }
            Self::Shape { .. } => "config.json and the weights may be of different models".into(),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on the disk and run the same command again".into()
            }
            Self::NotAsPlanned { .. } => "the disk or its memory may be failing: write it again, elsewhere".into(),
            Self::UnsupportedDtype { .. } => "convert the checkpoint to f16, or use the published one".into(),
            _ => return None,
        })
    }
}
