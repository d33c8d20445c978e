//! Published checkpoint files to named, typed tensors: `config.json`, PyTorch pickles (sharded or
//! not), safetensors, and the GPTQ layout of quantised linears.
//!
//! Files are mapped, never copied whole; pickles are read as data by a small machine that knows the
//! few opcodes and names a state dict needs, and nothing is ever executed. The same containers are
//! written, from front to back. What the network makes of the tensors is not known here.

mod check;
mod checkpoint;
mod config;
mod contents;
mod declared;
mod error;
mod files;
mod formats;
mod groups;
mod index;
mod linear;
mod map;
mod pickle;
mod safetensors;
mod tensor;
mod torch_zip;
mod warning;
mod write;
mod zero_points;

pub use check::{FileCheck, check_files};
pub use checkpoint::Checkpoint;
pub use config::RawConfig;
pub use declared::ZeroPoints;
pub use error::{
    CheckpointError, ConfigRule, DtypeRule, EntryFault, Evidence, FileRole, Lookalike,
};
pub use formats::{LinearFormat, Quantization};
pub use linear::{GptqLinear, GroupIndex, LinearTensors};
pub use map::{WeightStorage, exit_on_truncation};
pub use pickle::{Attachment, PickleError, PickleExpected, PickleLimit};
pub use tensor::{DType, Tensor, TensorInfo};
pub use warning::Warning;
pub use write::{
    Container, Outline, ShardDigest, ShardWriter, plan_shards, shard_digest, write_index,
};

/// Entry points of the readers for fuzzing: any bytes give `Ok` or a typed error.
#[doc(hidden)]
pub mod fuzzing {
    use std::path::Path;

    /// `config.json`.
    pub fn config(bytes: &[u8]) -> bool {
        crate::config::RawConfig::from_json(bytes, Path::new("config.json")).is_ok()
    }

    /// `*.index.json`.
    pub fn index(bytes: &[u8]) -> bool {
        crate::index::Index::from_json(bytes, Path::new("x.index.json")).is_ok()
    }

    /// `data.pkl` inside a PyTorch file.
    pub fn pickle(bytes: &[u8]) -> bool {
        crate::pickle::read_state_dict(bytes).is_ok()
    }

    /// A whole PyTorch file.
    pub fn torch_zip(bytes: &[u8]) -> bool {
        crate::torch_zip::read_header(bytes, Path::new("x.bin")).is_ok()
    }

    /// A whole safetensors file.
    pub fn safetensors(bytes: &[u8]) -> bool {
        crate::safetensors::read_header(bytes, Path::new("x.safetensors")).is_ok()
    }
}
