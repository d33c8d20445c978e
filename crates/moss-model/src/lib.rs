//! Token ids to logits: the CodeGen network of MOSS-moon-003 over a paged key/value cache.
//!
//! A [`LanguageModel`] runs chunks of several sequences in one forward batch; each has its token ids,
//! first position and [`BlockTable`]. [`Moss`] implements it, loaded from a [`WeightSource`]: a
//! [`moss_checkpoint::Checkpoint`] or [`RandomWeights`]. Text and sampling belong to other crates.
//!
//! Sources: CodeGen (arXiv 2203.13474) for the network, PagedAttention (arXiv 2309.06180) for the
//! paged cache.

mod block;
mod block_spec;
mod config;
mod cpu;
mod decode_rows;
mod defaults;
mod device_spec;
mod devices;
mod dtype;
mod error;
mod format;
#[cfg(feature = "cuda")]
mod gpu;
mod hook;
mod kv_cache;
mod language_model;
mod load;
mod load_event;
mod micro_batch;
mod model;
mod options;
mod pipeline;
pub mod placement;
#[cfg(feature = "reference")]
mod reference;
mod source;
mod stage;
mod stored_blocks;
mod synthetic;
mod timeline;

pub use block_spec::{BlockSpec, ColumnSlices, QkvPart};
pub use config::MossConfig;
pub use decode_rows::MAX_DECODE_ROWS;
pub use device_spec::DeviceSpec;
pub use devices::{CUDA, device_code, has_gpu, machine_gpus};
pub use dtype::{ComputeDtype, KvCacheType};
pub use error::{ModelError, NetworkRule, UnsupportedOption};
pub use format::WeightFormat;
pub use hook::{HiddenPoint, HiddenTap};
pub use kv_cache::{BlockPool, BlockTable, CacheShape};
pub use language_model::{LanguageModel, LogitRows, Logits, SequenceChunk, TokenKind};
pub use load_event::LoadEvent;
pub use model::Moss;
pub use moss_weights::{LinearKind, LinearParts, LinearShape, names};
pub use options::{DeviceInfo, LoadOptions, StageInfo};
#[cfg(feature = "reference")]
pub use reference::Reference;
pub use source::WeightSource;
pub use stored_blocks::BlockFormat;
pub use synthetic::RandomWeights;
pub use timeline::StageSpan;
