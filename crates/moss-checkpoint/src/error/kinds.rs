//! What errors say was found or expected.

use moss_messages::Message;

/// What a file of a checkpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FileRole {
    /// The folder itself.
    CheckpointFolder,
    /// `config.json`.
    Config,
    /// `quantize_config.json`.
    QuantizeConfig,
    /// The file that maps tensors to shards.
    ShardIndex,
    /// A file of weights.
    Weights,
}

/// Text that is often downloaded in place of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Lookalike {
    /// A pointer that git-lfs left.
    GitLfsPointer,
    /// A page of HTML.
    WebPage,
}

/// What a value of a configuration file has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum ConfigRule {
    /// A whole number of 0 or more.
    Size,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// The id of a token.
    TokenId,
    /// A string.
    Text,
    /// A JSON object.
    Object,
    /// True or false.
    Flag,
    /// 4 or 8.
    Bits,
    /// Above 0, or -1.
    GroupSize,
    /// The method `gptq`.
    Gptq,
    /// The format `gptq` or `gptq_v2`.
    GptqFormat,
}

/// What tensors show of a value that a configuration file gives.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum Evidence {
    /// Another value.
    Value(String),
    /// The number of groups.
    Groups {
        /// Groups.
        groups: usize,
        /// Inputs of the layer.
        inputs: usize,
    },
    /// Inputs that are not in the order of their groups.
    Unordered,
}

/// What is wrong with an entry of a PyTorch file.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum EntryFault {
    /// There is no such entry.
    Missing,
    /// The tensors were written in big-endian order.
    BigEndian,
    /// The pickle is larger than that of any state dict.
    TooLarge,
    /// The entry is encrypted.
    Encrypted,
    /// The entry reaches past the end of the file.
    PastEnd,
    /// The entry is compressed by this method.
    Compressed(String),
}

/// The types that a tensor may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum DtypeRule {
    /// f16, bf16 or f32.
    Float,
    /// i32.
    I32,
    /// i32, or i64 whose values fit into i32.
    I32Range,
}
