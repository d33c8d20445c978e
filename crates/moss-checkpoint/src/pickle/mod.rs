//! The subset of Python's pickle that a state dict needs, read as data. Nothing is imported, called
//! or executed: the few names that may occur are matched against a list, and what they would build
//! is described, not built. The same subset is written.
//!
//! Source: the opcode table of Python's `pickletools`, protocols 2 to 5.

mod error;
mod globals;
mod machine;
mod opcodes;
mod writer;

pub use error::{Attachment, PickleError, PickleExpected, PickleLimit};
pub(crate) use machine::{PickledTensor, read_state_dict};
pub(crate) use writer::write_state_dict;
