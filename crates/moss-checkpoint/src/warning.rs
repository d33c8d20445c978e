//! What is odd about a checkpoint, yet no reason to refuse it.

mod zh;

use std::path::PathBuf;

/// Oddities that were found and handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// `wbits` in config.json disagrees with the weights, which are believed.
    BitWidth {
        /// What config.json says.
        config: i64,
        /// What the shapes of the packed weights say; 16 or 32 where the weights are not packed.
        tensors: u32,
    },
    /// `torch_dtype` in config.json disagrees with the weights, which are believed.
    TorchDtype {
        /// What config.json says.
        config: String,
        /// What the embedding is stored as.
        tensors: String,
    },
    /// Both safetensors and PyTorch files are there; the former are used.
    TwoContainers {
        /// The PyTorch files that are not read.
        ignored: Vec<PathBuf>,
    },
    /// A PyTorch file that was written without checksums.
    NoChecksums {
        /// The file.
        file: PathBuf,
    },
    /// Tensors that no MOSS network has.
    UnknownTensors {
        /// How many.
        count: usize,
        /// The first of them, by name.
        first: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BitWidth { config, tensors } => {
                write!(
                    f,
                    "config.json says `wbits` = {config}, the weights are {tensors} bits wide; using {tensors}"
                )
            }
            Self::TorchDtype { config, tensors } => {
                write!(
                    f,
                    "config.json says `torch_dtype` = {config}, the weights are stored as {tensors}; using {tensors}"
                )
            }
            Self::TwoContainers { ignored } => {
                write!(
                    f,
                    "safetensors and PyTorch files side by side; {} PyTorch file(s) not read",
                    ignored.len()
                )
            }
            Self::NoChecksums { file } => {
                write!(f, "`{}` was written without checksums; damage to it may go unseen", file.display())
            }
            Self::UnknownTensors { count, first } => {
                write!(f, "{count} tensor(s) that MOSS does not have, `{first}` the first; ignored")
            }
        }
    }
}
