//! Values and rules that errors name.

use moss_messages::Message;

/// The role of a file of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FileRole {
    /// The folder itself.
    CheckpointFolder,
    /// `config.json`.
    Config,
    /// `quantize_config.json`.
    QuantizeConfig,
    /// The shard index: tensor names to file names.
    ShardIndex,
    /// A file of weights.
    Weights,
}

/// Text that is often downloaded in place of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Lookalike {
    /// A git-lfs pointer.
    GitLfsPointer,
    /// An HTML page.
    WebPage,
}

/// A condition on a value of a configuration file.
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

/// The value that tensors show for a key of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum Evidence {
    /// Another value.
    Value(String),
    /// A number of groups.
    Groups {
        /// The number of groups.
        groups: usize,
        /// Inputs of the layer.
        inputs: usize,
    },
    /// A group index that is not in the order of the inputs.
    Unordered,
}

/// A fault of an entry of a PyTorch file.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum EntryFault {
    /// The entry is missing.
    Missing,
    /// The tensors were written in big-endian order.
    BigEndian,
    /// The pickle exceeds the size limit.
    TooLarge,
    /// The entry is encrypted.
    Encrypted,
    /// The entry extends past the end of the file.
    PastEnd,
    /// The entry is compressed by this method.
    Compressed(String),
}

/// A condition on the type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum DtypeRule {
    /// f16, bf16 or f32.
    Float,
    /// i32.
    I32,
    /// i32, or i64 whose values fit into i32.
    I32Range,
}
