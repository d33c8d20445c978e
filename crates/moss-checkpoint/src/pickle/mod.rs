//! A restricted unpickler for state dicts, and a writer. Nothing is imported, called or executed:
//! names are matched against an allow-list, and the objects that they would construct are described
//! only.
//!
//! Source: the opcode table of Python's `pickletools`, protocols 2 to 5.

mod construct;
mod error;
mod globals;
mod machine;
mod opcodes;
mod reader;
mod state_dict;
mod values;
mod writer;

pub use error::{Attachment, PickleError, PickleExpected, PickleLimit};
pub(crate) use state_dict::{PickledTensor, read_state_dict};
pub(crate) use writer::write_state_dict;
