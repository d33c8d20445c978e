//! What an op refuses: which argument, what was found, what the rule is.

use moss_messages::Message;

use crate::DenseDtype;

/// What an argument has to be.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum Rule {
    /// This number.
    Exactly(usize),
    /// This number or more.
    AtLeast(usize),
    /// This number or less.
    AtMost(usize),
    /// Less than this number.
    Below(usize),
    /// A number of this range, ends included.
    Between(usize, usize),
    /// One of two numbers.
    OneOf(usize, usize),
    /// A multiple of this number.
    MultipleOf(usize),
    /// A multiple of one number, and no less than another.
    AlignedAtLeast {
        /// The divisor.
        multiple: usize,
        /// The least.
        least: usize,
    },
    /// The product of these extents.
    Product(String),
    /// An even number.
    Even,
    /// A divisor of the number of heads.
    DivisorOfHeads,
    /// So many heads of this stride.
    HeadsOfStride {
        /// Heads.
        heads: usize,
        /// Elements from one head to the next.
        stride: usize,
    },
    /// Less than this number, and given once.
    BelowOnce(usize),
    /// One for each width.
    OnePerWidth,
    /// Fewer than were given.
    Fewer,
    /// Weights that are not packed.
    Dense,
    /// At most so many inputs of a table that is not packed.
    DenseAtMost {
        /// The most rows.
        most: usize,
        /// Inputs of the table.
        inputs: usize,
    },
    /// A value that f16 holds, at every index.
    HeldByF16,
    /// A table in the memory of the GPU.
    OnDevice,
    /// Few enough for every element to have an address.
    Addressable,
    /// Few enough for the memory.
    Memory {
        /// Bytes that were asked for.
        needed: u64,
    },
}

/// What was asked of the CUDA driver or of cuBLAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum DriverCall {
    /// The size of the free memory.
    FreeMemory,
    /// The driver's version.
    DriverVersion,
    /// What a GPU is.
    Describe,
    /// The GPUs there are.
    ListGpus,
    /// A context on a GPU.
    OpenGpu,
    /// Loading the kernels.
    LoadKernels,
    /// Finding a kernel in what was loaded.
    FindKernel,
    /// Launching the kernel of this name.
    Kernel(&'static str),
    /// A copy from the GPU.
    CopyFrom,
    /// A copy to the GPU.
    CopyTo,
    /// A copy within the GPU.
    CopyWithin,
    /// A transfer to the next stage.
    Transfer,
    /// Device memory.
    Allocate,
    /// Page-locked host memory.
    AllocatePinned,
    /// Filling memory.
    SetMemory,
    /// The capture of a CUDA graph.
    Capture,
    /// The launch of a CUDA graph.
    LaunchGraph,
    /// A measurement.
    Measure,
    /// A handle of cuBLAS.
    PrepareCublas,
    /// A product by cuBLAS.
    Gemm,
    /// Waiting for the GPU.
    Synchronize,
}

/// Errors of planning or running an op.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum KernelError {
    /// An argument outside the op's contract.
    Argument {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The value it has.
        found: usize,
        /// What it has to be.
        rule: Rule,
    },
    /// A tensor of another shape than the op takes.
    Shape {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its shape.
        #[message(debug)]
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// A tensor of a type that the op does not take.
    Dtype {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its type.
        found: &'static str,
    },
    /// Activations of 8 bits beside a weight that has no kernel for them.
    NotPacked {
        /// The op.
        op: &'static str,
        /// Type of the weight.
        #[message(debug)]
        found: DenseDtype,
    },
    /// The op has no kernel for the device in this build.
    NotCompiled {
        /// The op.
        op: &'static str,
    },
    /// There is no GPU of that number.
    NoSuchGpu {
        /// The number asked for.
        ordinal: usize,
        /// GPUs there are.
        found: usize,
    },
    /// The machine has no NVIDIA driver.
    NoDriver,
    /// A library that is loaded at run time and was not found, or does not load.
    LibraryMissing {
        /// Its name.
        library: &'static str,
        /// Its newest major version that runs on the driver.
        version: u32,
        /// The dynamic loader's words.
        reason: String,
    },
    /// A driver that this build's kernels do not run on. Versions count 1000 x major + 10 x minor.
    DriverTooOld {
        /// What the driver offers.
        found: u32,
        /// The oldest that runs this build's kernels.
        needed: u32,
    },
    /// A card that another program has for itself, whose memory is taken, or that is broken.
    NotOpened {
        /// The card.
        gpu: usize,
        /// The driver's number of the error.
        code: u32,
        /// Its words.
        message: String,
    },
    /// A card has no room left.
    OutOfMemory {
        /// The card.
        gpu: usize,
        /// Bytes asked for.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Weights that were to go to a card could not be read.
    Read {
        /// What the system said.
        source: std::io::Error,
    },
    /// The driver or a CUDA library said no.
    Driver {
        /// What was being done.
        what: DriverCall,
        /// The driver's number of the error.
        code: u32,
        /// Its words.
        message: String,
    },
    /// candle refused a tensor operation.
    #[cfg(feature = "candle")]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(code: u32) -> KernelError {
        KernelError::Driver {
            what: DriverCall::FindKernel,
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
