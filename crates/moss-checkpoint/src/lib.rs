//! Published checkpoint files to named, typed tensors: `config.json`, PyTorch pickles and
//! safetensors (one file or shards), and the GPTQ layout of quantized linear layers.
//!
//! Weight files are memory-mapped and used without a copy. Pickles are read by a restricted
//! unpickler with an allow-list; nothing in them is executed. Writers for the same containers are
//! here too. How the network uses the tensors is the matter of `moss-model`.

mod check;
mod checkpoint;
mod config;
mod contents;
mod dtype;
mod error;
mod fingerprint;
mod formats;
mod gptq_v2;
mod groups;
mod header;
mod index;
mod json;
mod linear;
mod manifest;
mod map;
mod pickle;
mod quantization;
mod read;
mod safetensors;
mod tensor;
mod tensor_index;
mod tensor_info;
mod torch_zip;
mod warning;
mod weight_files;
mod write;
mod zero_points;

pub use check::{FileCheck, check_files};
pub use checkpoint::Checkpoint;
pub use config::RawConfig;
pub use dtype::DType;
pub use error::{
    CheckpointError, ConfigRule, DtypeRule, EntryFault, Evidence, FileRole, Lookalike,
};
pub use formats::{LinearFormat, Quantization};
pub use map::{WeightStorage, exit_on_truncation};
pub use pickle::{Attachment, PickleError, PickleExpected, PickleLimit};
pub use tensor::Tensor;
pub use tensor_info::TensorInfo;
pub use warning::Warning;
pub use write::{
    Container, Outline, ShardDigest, ShardWriter, plan_shards, shard_digest, write_index,
};
pub use zero_points::ZeroPoints;

/// Entry points of the readers for fuzzing. They return `true` if the bytes can be read.
#[doc(hidden)]
pub mod fuzzing {
    use std::path::Path;

    /// Reads a `config.json`.
    pub fn config(bytes: &[u8]) -> bool {
        crate::config::RawConfig::from_json(bytes, Path::new("config.json")).is_ok()
    }

    /// Reads a shard index.
    pub fn index(bytes: &[u8]) -> bool {
        crate::index::Index::from_json(bytes, Path::new("x.index.json")).is_ok()
    }

    /// Reads the pickle of a PyTorch file.
    pub fn pickle(bytes: &[u8]) -> bool {
        crate::pickle::read_state_dict(bytes).is_ok()
    }

    /// Reads the header of a PyTorch file.
    pub fn torch_zip(bytes: &[u8]) -> bool {
        crate::torch_zip::read_header(bytes, Path::new("x.bin")).is_ok()
    }

    /// Reads the header of a safetensors file.
    pub fn safetensors(bytes: &[u8]) -> bool {
        crate::safetensors::read_header(bytes, Path::new("x.safetensors")).is_ok()
    }
}
