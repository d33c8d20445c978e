//! Token ids to logits: the CodeGen network of MOSS-moon-003 over a paged key/value cache.
//!
//! A [`LanguageModel`] runs rows of several sequences at once; each sequence brings its own token ids, first
//! position and [`BlockTable`]. [`Moss`] is the real one, loaded from a [`WeightSource`]: a
//! [`moss_checkpoint::Checkpoint`] or [`RandomWeights`]. Text, sampling and clocks belong to other crates.
//!
//! Sources: CodeGen (arXiv 2203.13474) for the network, PagedAttention (arXiv 2309.06180) for the cache in blocks.

mod block;
mod config;
mod error;
mod kv_cache;
mod language_model;
mod model;
mod names;
mod random;
mod source;

pub use config::MossConfig;
pub use error::ModelError;
pub use kv_cache::{BlockPool, BlockTable, CacheShape};
pub use language_model::{Cut, LanguageModel, LogitRows, Logits, SequenceChunk};
pub use model::{ComputeDtype, HiddenPoint, HiddenTap, LoadEvent, LoadOptions, Moss};
pub use random::{RandomWeights, WeightFormat};
pub use source::{LinearParts, WeightSource};
