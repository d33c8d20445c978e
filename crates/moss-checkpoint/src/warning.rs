//! Oddities of a checkpoint that do not prevent its use.

use std::path::PathBuf;

use moss_messages::Message;

/// Oddities that were found and handled.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(display)]
#[non_exhaustive]
pub enum Warning {
    /// `wbits` in config.json differs from the bits of the weights, which are used.
    BitWidth {
        /// The value in config.json.
        config: i64,
        /// The bits that the shapes of the packed weights show; 16 or 32 for dense weights.
        tensors: u32,
    },
    /// `torch_dtype` in config.json differs from the type of the weights, which is used.
    TorchDtype {
        /// The value in config.json.
        config: String,
        /// The type of the embedding, by PyTorch's name.
        tensors: &'static str,
    },
    /// The folder has several sets of weight files; one is used.
    SeveralSets {
        /// The file or index in use.
        used: String,
        /// Weight files and indices that are not read.
        ignored: Vec<PathBuf>,
    },
    /// An index with missing shards, in addition to the weights in use.
    StaleIndex {
        /// The index.
        index: PathBuf,
        /// The number of missing shards.
        missing: usize,
        /// The file or index in use.
        used: String,
    },
    /// `groupsize` in config.json differs from the groups of the weights, which are used.
    GroupSize {
        /// The value in config.json.
        config: i64,
        /// The group size that the scales and the group index show.
        tensors: usize,
    },
    /// A group index without some groups, whose scales are not used.
    UnusedGroups {
        /// The first such index.
        name: String,
        /// The number of groups without inputs.
        unused: usize,
        /// The number of groups.
        groups: usize,
        /// The number of linear layers with such an index.
        linears: usize,
    },
    /// The configuration declares symmetric quantization, but the zero points are not in the middle
    /// of the range.
    Symmetry {
        /// The first tensor of such zero points.
        name: String,
        /// The convention in use: `gptq` or `gptq_v2`.
        format: &'static str,
        /// The stored zero point of symmetric weights.
        expected: u32,
        /// The first other value.
        found: u32,
        /// The number of linear layers with such zero points.
        linears: usize,
    },
    /// Groups without a stated size, for which several sizes fit; the published one is used.
    GroupSizeAssumed {
        /// The first scales of such groups.
        name: String,
        /// The size in use.
        size: usize,
        /// The number of linear layers with such groups.
        linears: usize,
    },
    /// `tie_word_embeddings` is true, but the file has a separate lm_head, which is used.
    OwnHead,
    /// A separate lm_head without a bias; every published checkpoint has one.
    NoHeadBias,
    /// A PyTorch file without checksums.
    NoChecksums {
        /// The file.
        file: PathBuf,
    },
    /// Tensors that the network does not use.
    UnknownTensors {
        /// The number of such tensors.
        count: usize,
        /// The name of the first one.
        first: String,
    },
}
