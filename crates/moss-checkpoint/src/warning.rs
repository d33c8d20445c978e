//! What is odd about a checkpoint, yet no reason to refuse it.

use std::path::PathBuf;

use moss_messages::Message;

/// Oddities that were found and handled.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(display)]
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
