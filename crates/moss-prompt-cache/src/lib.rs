//! The prompt cache on disk: keys and values of the first tokens of a prompt, such as its system
//! prompt, so that the next start of a program does not compute them again.
//!
//! A [`PromptCache`] is a folder. Each file in it has the cache blocks of one [`Prefix`]: it is
//! written once, under a name that no reader uses, and then renamed. Files are checked as data of
//! unknown origin: lengths before anything is allocated, then the whole description and the token
//! ids, and the checksum of each block before it is used. A file that is damaged, incomplete or of
//! another origin is never an error, but as good as none.
//!
//! The checksums detect damage, not intent: a user who may write to the folder can choose what the
//! model has read. It is created for its user alone.

mod error;
mod file;
mod folder;
mod reader;
mod writer;

pub use error::{FileFault, PromptCacheError};
pub use file::Prefix;
pub use folder::{Entry, PromptCache};
pub use reader::BlockReader;
pub use writer::BlockWriter;

/// Entry points of the fuzz targets.
#[doc(hidden)]
pub mod fuzzing {
    /// Reads a whole file from memory.
    pub fn file(bytes: &[u8]) {
        crate::reader::read_all(bytes);
    }
}
