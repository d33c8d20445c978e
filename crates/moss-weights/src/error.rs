//! What an op refuses: which argument, what was found, what the rule is.

mod zh;

use crate::DenseDtype;

/// Errors of planning or running an op.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An argument outside the op's contract.
    #[error("{op}: `{arg}` is {found}, expected {rule}")]
    Argument {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The value it has.
        found: usize,
        /// What it has to be.
        rule: String,
    },
    /// A tensor of another shape than the op takes.
    #[error("{op}: `{arg}` has shape {found:?}, expected {expected}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// A tensor of a type that the op does not take.
    #[error("{op}: `{arg}` is {found}, expected f32, f16 or bf16")]
    Dtype {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its type.
        found: &'static str,
    },
    /// Activations of 8 bits beside a weight that has no kernel for them.
    #[error("{op}: 8-bit activations are multiplied with int4 and int8 weights, found {found:?}")]
    NotPacked {
        /// The op.
        op: &'static str,
        /// Type of the weight.
        found: DenseDtype,
    },
    /// The op has no kernel for the device in this build.
    #[error("{op}: this build has kernels for the CPU alone")]
    NotCompiled {
        /// The op.
        op: &'static str,
    },
    /// There is no GPU of that number.
    #[error("there is no GPU {ordinal}: {}", match found { 0 => "the driver shows none".to_owned(), 1 => "the driver shows one, GPU 0".to_owned(), n => format!("the driver shows {n}, GPU 0 to {}", n - 1) })]
    NoSuchGpu {
        /// The number asked for.
        ordinal: usize,
        /// GPUs there are.
        found: usize,
    },
    /// The machine has no NVIDIA driver.
    #[error("no NVIDIA driver found: the dynamic loader does not find libcuda.so.1")]
    NoDriver,
    /// A library that is loaded at run time and was not found, or does not load.
    #[error("{library} is needed for this and cannot be loaded: {reason}")]
    LibraryMissing {
        /// Its name.
        library: &'static str,
        /// Its newest major version that runs on the driver.
        version: u32,
        /// The dynamic loader's words.
        reason: String,
    },
    /// A driver that this build's kernels do not run on. Versions count 1000 x major + 10 x minor.
    #[error("the NVIDIA driver offers CUDA {}.{}, this build needs {}.{} or newer", found / 1000, found % 1000 / 10, needed / 1000, needed % 1000 / 10)]
    DriverTooOld {
        /// What the driver offers.
        found: u32,
        /// The oldest that runs this build's kernels.
        needed: u32,
    },
    /// A card that another program has for itself, whose memory is taken, or that is broken.
    #[error("cannot open GPU {gpu}: {message}")]
    NotOpened {
        /// The card.
        gpu: usize,
        /// The driver's number of the error.
        code: u32,
        /// Its words.
        message: String,
    },
    /// A card has no room left.
    #[error("GPU {gpu} is out of memory: {} more were asked for, {} are free", mebibytes(*needed), mebibytes(*free))]
    OutOfMemory {
        /// The card.
        gpu: usize,
        /// Bytes asked for.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Weights that were to go to a card could not be read.
    #[error("cannot read weights")]
    Read {
        /// What the system said.
        source: std::io::Error,
    },
    /// The driver or a CUDA library said no.
    #[error("cannot {what}: {message}")]
    Driver {
        /// What was being done.
        what: &'static str,
        /// The driver's number of the error.
        code: u32,
        /// Its words.
        message: String,
    },
    /// candle refused a tensor operation.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl KernelError {
    /// Whether a GPU has no memory left, by whichever library said so.
    pub fn is_out_of_memory(&self) -> bool {
        const CUDA_ERROR_OUT_OF_MEMORY: u32 = 2;
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Driver { code, .. } => *code == CUDA_ERROR_OUT_OF_MEMORY,
            _ => false,
        }
    }

    /// Returns true if the device context is lost: every later call on it fails too, and only a new
    /// process can use the device again.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Driver { code, .. } if CONTEXT_LOST.contains(code))
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotCompiled { .. } => Some("build with `cargo build --release --features cuda` for GPUs".into()),
            Self::NotPacked { .. } => Some("leave `--activations` out, or take an int4 or int8 checkpoint".into()),
            Self::NoSuchGpu { .. } => {
                Some("`nvidia-smi` lists the cards, `CUDA_VISIBLE_DEVICES` may hide some; `--gpu cpu` needs none".into())
            }
            Self::NoDriver => Some("install the NVIDIA driver (`nvidia-smi` then lists the GPUs), or leave `--gpu` out to run on the CPU".into()),
            Self::LibraryMissing { version, .. } => Some(format!(
                "install it with `pip install {}`, or install the CUDA toolkit {version}; `LD_LIBRARY_PATH` can name a folder that has it",
                cublas_package(*version)
            )),
            Self::DriverTooOld { needed, .. } => Some(format!(
                "install a driver for CUDA {}.{} or newer, or build with an older toolkit; `--gpu cpu` needs none",
                needed / 1000,
                needed % 1000 / 10
            )),
            Self::OutOfMemory { .. } => {
                Some("close what else uses the card, use a smaller format or a shorter context, or stay on the CPU".into())
            }
            Self::NotOpened { code: 46, .. } => {
                Some("another program may have the card for itself (compute mode \"exclusive\"): `nvidia-smi` shows both; name another card, or stay on the CPU with `--gpu cpu`".into())
            }
            Self::NotOpened { code: 2, .. } => {
                Some("its memory is taken: `nvidia-smi` shows by which programs; name another card, or stay on the CPU with `--gpu cpu`".into())
            }
            Self::Driver { code: 803, .. } => {
                Some("the driver is not whole: after an update of it the machine must be restarted, and a container must have the libraries of the machine's driver; `--gpu cpu` needs none".into())
            }
            Self::Driver { code: 100, .. } => Some("is an NVIDIA driver installed? `nvidia-smi` should list the card; `--gpu cpu` needs none".into()),
            Self::Driver { .. } | Self::NotOpened { .. } => Some("`nvidia-smi` shows driver and cards; `--gpu cpu` needs neither".into()),
            _ => None,
        }
    }
}

/// The package of the Python registry that has this version of cuBLAS.
fn cublas_package(version: u32) -> &'static str {
    if version >= 13 {
        "nvidia-cublas"
    } else {
        "nvidia-cublas-cu12"
    }
}
/// The `CUresult` values after which a CUDA context is unusable. The CUDA driver API documents most
/// of them with "the process must be terminated and relaunched"; the others say that the context or
/// the device itself is gone.
const CONTEXT_LOST: [u32; 17] = [
    4,   // DEINITIALIZED
    201, // INVALID_CONTEXT
    214, // ECC_UNCORRECTABLE
    220, // NVLINK_UNCORRECTABLE
    226, // CONTAINED
    700, // ILLEGAL_ADDRESS
    702, // LAUNCH_TIMEOUT
    709, // CONTEXT_IS_DESTROYED
    710, // ASSERT
    714, // HARDWARE_STACK_ERROR
    715, // ILLEGAL_INSTRUCTION
    716, // MISALIGNED_ADDRESS
    717, // INVALID_ADDRESS_SPACE
    718, // INVALID_PC
    719, // LAUNCH_FAILED
    721, // TENSOR_MEMORY_LEAK
    999, // UNKNOWN
];

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(code: u32) -> KernelError {
        KernelError::Driver {
            what: "launch a kernel",
            code,
            message: String::new(),
        }
    }

    #[test]
    fn driver_errors_that_lose_the_context_are_fatal_and_others_are_not() {
        for code in [
            214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999,
        ] {
            assert!(driver(code).is_fatal(), "{code}");
        }
        // Code 0 is cuBLAS, 2 is out of memory, 701 is a launch with too many resources: the
        // context survives them.
        for code in [0, 1, 2, 100, 400, 701, 704, 712, 720, 803] {
            assert!(!driver(code).is_fatal(), "{code}");
        }
        assert!(
            !KernelError::OutOfMemory {
                gpu: 0,
                needed: 2,
                free: 1
            }
            .is_fatal()
        );
    }
}
