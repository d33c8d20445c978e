//! What is odd about a checkpoint, yet no reason to refuse it.

mod zh;

use std::path::PathBuf;

/// Oddities that were found and handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// `wbits` in config.json disagrees with the weights, which are believed.
    BitWidth {
        /// What config.json says.
        config: i64,
        /// What the shapes of the packed weights say; 16 or 32 where the weights are not packed.
        tensors: u32,
    },
    /// `torch_dtype` in config.json disagrees with the weights, which are believed.
    TorchDtype {
        /// What config.json says.
        config: String,
        /// What the embedding is stored as.
        tensors: String,
    },
    /// Several sets of weight files are there; one is used.
    SeveralSets {
        /// The file or index in use.
        used: String,
        /// Weight files and indices that are not read.
        ignored: Vec<PathBuf>,
    },
    /// An index whose shards are gone, beside the weights in use.
    StaleIndex {
        /// The index.
        index: PathBuf,
        /// Files that it names and the folder lacks.
        missing: usize,
        /// The file or index in use.
        used: String,
    },
    /// `groupsize` in config.json disagrees with the weights, which are believed.
    GroupSize {
        /// What config.json says.
        config: i64,
        /// What the scales and the index show.
        tensors: usize,
    },
    /// An index of groups that leaves some out: their scales are never used.
    UnusedGroups {
        /// The first such index.
        name: String,
        /// Groups that no input belongs to.
        unused: usize,
        /// Groups in all.
        groups: usize,
        /// Linear layers with such an index.
        linears: usize,
    },
    /// The configuration says that the weights are symmetric, the zero points are not in the
    /// middle.
    Symmetry {
        /// The zero points.
        name: String,
        /// The convention in use: `gptq` or `gptq_v2`.
        format: &'static str,
        /// What symmetric weights have stored.
        expected: u32,
        /// The first other value.
        found: u32,
        /// Linear layers with such zero points.
        linears: usize,
    },
    /// Groups whose size nothing states, where several sizes fit; the published one is used.
    GroupSizeAssumed {
        /// The first scales of such groups.
        name: String,
        /// The size in use.
        size: usize,
        /// Linear layers with such groups.
        linears: usize,
    },
    /// `tie_word_embeddings` is true, and the file has a head of its own, which is used.
    OwnHead,
    /// The head is not the embedding and has no bias, unlike that of every published checkpoint.
    NoHeadBias,
    /// A PyTorch file that was written without checksums.
    NoChecksums {
        /// The file.
        file: PathBuf,
    },
    /// Tensors that the network has no use for.
    UnknownTensors {
        /// How many.
        count: usize,
        /// The first of them, by name.
        first: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BitWidth { config, tensors } => {
                write!(
                    f,
                    "config.json says `wbits` = {config}, the weights are {tensors} bits wide; using {tensors}"
                )
            }
            Self::TorchDtype { config, tensors } => {
                write!(
                    f,
                    "config.json says `torch_dtype` = {config}, the weights are stored as {tensors}; using {tensors}"
                )
            }
            Self::SeveralSets { used, ignored } => {
                let first = name_of(ignored.first());
                write!(
                    f,
                    "several sets of weights: using `{used}`; {} other file(s) are not read, `{first}` the first",
                    ignored.len()
                )
            }
            Self::StaleIndex { index, missing, used } => {
                let index = name_of(Some(index));
                write!(f, "`{index}` is stale: {missing} file(s) that it names are missing; using `{used}`")
            }
            Self::GroupSize { config, tensors } => {
                write!(
                    f,
                    "config.json says `groupsize` = {config}, the weights have groups of {tensors}; using {tensors}"
                )
            }
            Self::UnusedGroups { name, unused, groups, linears } => {
                write!(
                    f,
                    "`{name}` leaves {unused} of {groups} groups unused, as in {linears} linear layer(s): the weights may be damaged"
                )
            }
            Self::GroupSizeAssumed { name, size, linears } => {
                write!(
                    f,
                    "nothing states the group size of `{name}`, as in {linears} linear layer(s), and several sizes fit; using {size}"
                )
            }
            Self::Symmetry { name, format, expected, found, linears } => {
                write!(
                    f,
                    "the configuration says `sym`, but `{name}` stores {found} where symmetric weights in the `{format}` format have {expected}, as in {linears} linear layer(s): `sym` or `checkpoint_format` may be wrong"
                )
            }
            Self::OwnHead => f.write_str(
                "config.json says `tie_word_embeddings`, but there is an `lm_head` besides the embedding; using it",
            ),
            Self::NoHeadBias => f.write_str(
                "`lm_head.bias` is missing, which published checkpoints have; going on without it",
            ),
            Self::NoChecksums { file } => {
                write!(f, "`{}` was written without checksums; damage to it may go unseen", file.display())
            }
            Self::UnknownTensors { count, first } => {
                write!(f, "{count} tensor(s) that this model has no use for, `{first}` the first; ignored")
            }
        }
    }
}

/// A file's name without its folder.
fn name_of(file: Option<&PathBuf>) -> String {
    file.and_then(|file| file.file_name())
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
