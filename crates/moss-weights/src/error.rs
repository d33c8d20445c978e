//! Errors of kernels: the argument, the value found, and the rule that it violates.

use moss_messages::Message;

use crate::{DenseDtype, ExpectedShape};

/// A requirement on an argument.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum Rule {
    /// Equal to this number.
    Exactly(usize),
    /// This number or more.
    AtLeast(usize),
    /// This number or less.
    AtMost(usize),
    /// Less than this number.
    Below(usize),
    /// In this range, ends included.
    Between(usize, usize),
    /// One of two numbers.
    OneOf(usize, usize),
    /// A multiple of this number.
    MultipleOf(usize),
    /// A multiple of one number, and at least another.
    AlignedAtLeast {
        /// The divisor.
        multiple: usize,
        /// The minimum.
        least: usize,
    },
    /// The product of these extents.
    Product(String),
    /// An even number.
    Even,
    /// A divisor of the number of heads.
    DivisorOfHeads,
    /// This many heads with this stride.
    HeadsOfStride {
        /// Heads.
        heads: usize,
        /// Elements from one head to the next.
        stride: usize,
    },
    /// Less than this number, and unique.
    BelowOnce(usize),
    /// One per width.
    OnePerWidth,
    /// Fewer than were passed.
    Fewer,
    /// Weights that are not packed.
    Dense,
    /// A dense table, with a limit on its rows.
    DenseAtMost {
        /// Maximum rows.
        most: usize,
        /// Inputs of the table.
        inputs: usize,
    },
    /// Values in the range of f16.
    HeldByF16,
    /// A table in the memory of the GPU.
    OnDevice,
    /// Few enough elements for the address space.
    Addressable,
    /// Few enough elements for the memory.
    Memory {
        /// Bytes requested.
        needed: u64,
    },
}

/// An operation of the CUDA driver or of cuBLAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum DriverCall {
    /// Query of the free memory.
    FreeMemory,
    /// Query of the driver's version.
    DriverVersion,
    /// Query of a GPU's properties.
    Describe,
    /// Query of the GPUs.
    ListGpus,
    /// Creation of a context on a GPU.
    OpenGpu,
    /// Loading the kernels.
    LoadKernels,
    /// Lookup of a kernel in the loaded module.
    FindKernel,
    /// Launch of the kernel with this name.
    Kernel(&'static str),
    /// Encoding of a tensor map.
    EncodeTensorMap,
    /// A copy from the GPU.
    CopyFrom,
    /// A copy to the GPU.
    CopyTo,
    /// A copy within the GPU.
    CopyWithin,
    /// A transfer to the next stage.
    Transfer,
    /// Allocation of device memory.
    Allocate,
    /// Allocation of pinned host memory.
    AllocatePinned,
    /// Filling memory.
    SetMemory,
    /// The capture of a CUDA graph.
    Capture,
    /// The launch of a CUDA graph.
    LaunchGraph,
    /// A measurement.
    Measure,
    /// Creation of a cuBLAS handle.
    PrepareCublas,
    /// A matrix product of cuBLAS.
    Gemm,
    /// Waiting for the GPU.
    Synchronize,
}

/// Errors of operations and their preparation.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum KernelError {
    /// An argument that violates a rule.
    Argument {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its value.
        found: usize,
        /// The rule that it violates.
        rule: Rule,
    },
    /// A tensor whose shape the op does not support.
    Shape {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its shape.
        #[message(debug)]
        found: Vec<usize>,
        /// The expected shape.
        #[message(display)]
        expected: ExpectedShape,
    },
    /// A tensor whose type the op does not support.
    Dtype {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its type.
        found: &'static str,
    },
    /// 8-bit activations with a dense weight, for which no kernel exists.
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
    /// The GPU does not exist.
    NoSuchGpu {
        /// The requested ordinal.
        ordinal: usize,
        /// Number of GPUs.
        found: usize,
    },
    /// The machine has no NVIDIA driver.
    NoDriver,
    /// A library of the run time was not found or could not be loaded.
    LibraryMissing {
        /// Its name.
        library: &'static str,
        /// The newest major version that the driver supports.
        version: u32,
        /// The dynamic loader's message.
        reason: String,
    },
    /// The driver is too old for this build's kernels. Versions are `1000 * major + 10 * minor`.
    DriverTooOld {
        /// The driver's version.
        found: u32,
        /// The oldest supported version.
        needed: u32,
    },
    /// A GPU that could not be opened: in exclusive use, without free memory, or defective.
    NotOpened {
        /// The GPU.
        gpu: usize,
        /// The driver's error code.
        code: u32,
        /// Its message.
        message: String,
    },
    /// A GPU's memory is exhausted.
    OutOfMemory {
        /// The GPU.
        gpu: usize,
        /// Bytes requested.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// An argument that belongs to another GPU.
    WrongDevice {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The GPU that it belongs to.
        found: usize,
        /// The GPU that runs the op.
        expected: usize,
    },
    /// An argument that belongs to another stream of the GPU.
    WrongStream {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The GPU.
        gpu: usize,
    },
    /// A GPU that runs fewer clusters of thread blocks at the same time than a kernel needs.
    FewClusters {
        /// The GPU.
        gpu: usize,
        /// The kernel.
        kernel: &'static str,
        /// Clusters that run at the same time.
        found: usize,
        /// Clusters that the kernel needs.
        expected: usize,
    },
    /// Weights for a GPU could not be read.
    Read {
        /// The system's error.
        source: std::io::Error,
    },
    /// The driver or a CUDA library returned an error.
    Driver {
        /// The operation.
        what: DriverCall,
        /// The driver's error code.
        code: u32,
        /// Its message.
        message: String,
    },
    /// A tensor operation of candle failed.
    #[cfg(feature = "candle")]
    Tensor(#[from] candle_core::Error),
}

impl KernelError {
    /// Returns true if a GPU's memory is exhausted, whichever library reported it.
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
