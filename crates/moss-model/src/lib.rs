//! Token ids to logits: the CodeGen network of MOSS-moon-003 over a paged key/value cache.
//!
//! A [`LanguageModel`] runs rows of several sequences at once; each sequence brings its own token
//! ids, first position and [`BlockTable`]. [`Moss`] is the real one, loaded from a
//! [`WeightSource`]: a [`moss_checkpoint::Checkpoint`] or [`RandomWeights`]. Text, sampling and
//! clocks belong to other crates.
//!
//! Sources: CodeGen (arXiv 2203.13474) for the network, PagedAttention (arXiv 2309.06180) for the
//! cache in blocks.

mod block;
mod block_spec;
mod config;
mod cpu;
mod defaults;
mod devices;
mod error;
#[cfg(feature = "cuda")]
mod gpu;
mod hook;
mod kv_cache;
mod language_model;
mod load;
mod micro_batch;
mod model;
mod options;
mod pipeline;
pub mod placement;
mod source;
mod stage;
mod synthetic;
mod timeline;

pub use block_spec::{BlockSpec, ColumnSlices, QkvPart};
pub use config::MossConfig;
pub use devices::{CUDA, has_gpu, machine_gpus};
pub use error::{ModelError, NetworkRule};
pub use hook::{HiddenPoint, HiddenTap};
pub use kv_cache::{BlockPool, BlockTable, CacheShape};
pub use language_model::{LanguageModel, LogitRows, Logits, SequenceChunk};
pub use model::Moss;
pub use moss_weights::{LinearKind, LinearParts, LinearShape, names};
pub use options::{
    ComputeDtype, DeviceInfo, DeviceSpec, LoadEvent, LoadOptions, MemoryPlan, StageInfo,
};
pub use source::WeightSource;
pub use synthetic::{RandomWeights, WeightFormat};
pub use timeline::StageSpan;
