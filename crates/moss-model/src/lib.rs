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
mod config;
mod cpu;
mod defaults;
mod error;
#[cfg_attr(feature = "cuda", path = "gpu/enabled.rs")]
#[cfg_attr(not(feature = "cuda"), path = "gpu/disabled.rs")]
mod gpu;
mod kv_cache;
mod language_model;
mod load;
mod model;
pub mod names;
mod options;
mod pipeline;
pub mod placement;
mod plan;
mod random;
mod source;
mod tap;
mod timeline;

pub use block::LinearKind;
pub use config::{MossConfig, TRAINING_SHARDS};
pub use error::ModelError;
pub use gpu::{CUDA, has_gpu, machine_gpus};
pub use kv_cache::{BlockPool, BlockTable, CacheShape};
pub use language_model::{Cut, LanguageModel, LogitRows, Logits, SequenceChunk};
pub use model::Moss;
pub use options::{
    CardInfo, ComputeDtype, DeviceSpec, LoadEvent, LoadOptions, MemoryPlan, StageInfo,
};
pub use random::{RandomWeights, WeightFormat};
pub use source::{LinearParts, WeightSource};
pub use tap::{HiddenPoint, HiddenTap};
pub use timeline::StageSpan;
