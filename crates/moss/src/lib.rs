//! Native engine for MOSS-moon-003, Fudan's 16B bilingual chat model: the public library.
//!
//! Five lines to the first token:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut chat = moss::open_chat("fnlp/moss-moon-003-sft-int4")?;
//! for event in chat.ask("你好")? {
//!     if let moss::ChatEvent::Text { piece, .. } = event { eprint!("{piece}") }
//! }
//! # Ok(()) }
//! ```
//!
//! Each crate of the workspace is re-exported whole under a short name.

pub use moss_checkpoint as checkpoint;
pub use moss_engine as engine;
pub use moss_hub as hub;
pub use moss_kernels as kernels;
pub use moss_model as model;
pub use moss_sampling as sampling;
pub use moss_text as text;
