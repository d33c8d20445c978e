//! Writing weight files from front to back: their sizes are known beforehand, their bytes come in
//! pieces.
//!
//! A writer needs memory for one buffer only, whatever the size of a tensor. Its digest covers the
//! bytes of the tensors, so [`shard_digest`], which reads the file like any reader, can check what
//! was written.

mod container;
mod digest;
mod index;
mod outline;
mod safetensors;
mod shard;
mod torch;

pub use container::Container;
pub use digest::{ShardDigest, shard_digest};
pub use index::write_index;
pub use outline::{Outline, plan_shards};
pub use shard::ShardWriter;
