//! The registry of kernels, and the one way to launch them.

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cudarc::{
    driver::{
        CudaContext, CudaFunction,
        sys::{self, CUfunction_attribute, CUlaunchAttributeID},
    },
    nvrtc::Ptx,
};

use super::{During, Gpu, GpuCode, GpuInfo, fatbin, matmul_packed};
use crate::KernelError;

macro_rules! kernels {
    ($($stem:literal: $($variant:ident = $name:literal),+;)+) => {
        /// Every `__global__` function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Kernel { $($($variant),+),+ }

        impl Kernel {
            /// `(file, function)` of each.
            const ALL: &[(Self, &str, &str)] = &[$($((Self::$variant, $stem, $name)),+),+];

            pub(crate) fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name),+),+ }
            }
        }
    };
}

kernels! {
    "attention_decode": AttentionDecode16 = "attention_decode_16", AttentionDecode32 = "attention_decode_32",
        AttentionDecode64 = "attention_decode_64", AttentionDecode128 = "attention_decode_128",
        AttentionDecode256 = "attention_decode_256";
    "attention_prefill": AttentionPrefill16 = "attention_prefill_16", AttentionPrefill32 = "attention_prefill_32",
        AttentionPrefill64 = "attention_prefill_64", AttentionPrefill128 = "attention_prefill_128",
        AttentionPrefill256 = "attention_prefill_256";
    "copy_runs": CopyRuns = "copy_runs";
    "dequantize": DequantizeInt4 = "dequantize_int4", DequantizeInt8 = "dequantize_int8";
    "embedding": Embedding = "embedding";
    "f32_ops": LayerNormF32 = "layer_norm_f32", AddBiasF32 = "add_bias_f32", SplitHeadsF32 = "split_heads_f32",
        MergeHeadsF32 = "merge_heads_f32", CausalSoftmaxF32 = "causal_softmax_f32", PermuteUpperF32 = "permute_upper_f32";
    "layer_norm": LayerNorm = "layer_norm";
    "linear_f16": LinearF16N8 = "linear_f16_n8", LinearF16N16 = "linear_f16_n16", LinearF16N32 = "linear_f16_n32",
        LinearF16N64 = "linear_f16_n64";
    "linear_int4": LinearInt4N8 = "linear_int4_n8", LinearInt4N16 = "linear_int4_n16", LinearInt4N32 = "linear_int4_n32",
        LinearInt4N64 = "linear_int4_n64";
    "linear_int8": LinearInt8N8 = "linear_int8_n8", LinearInt8N16 = "linear_int8_n16", LinearInt8N32 = "linear_int8_n32",
        LinearInt8N64 = "linear_int8_n64";
    "many_rows": HeadsAndInner = "heads_and_inner", AddBias = "add_bias";
    "matmul_packed": MatmulInt4Store = "matmul_int4_store", MatmulInt4Add = "matmul_int4_add",
        MatmulInt8Store = "matmul_int8_store", MatmulInt8Add = "matmul_int8_add";
    "repack": RepackInt4 = "repack_int4", RepackInt8 = "repack_int8", RepackTableInt4 = "repack_table_int4",
        RepackTableInt8 = "repack_table_int8", FillRandom = "fill_random";
    "sample_cut": SampleScore = "sample_score", SampleCut = "sample_cut";
}

impl Kernel {
    /// Bytes of shared memory that a block gets at its launch.
    fn shared_memory(self) -> u32 {
        match self {
            Self::MatmulInt4Store
            | Self::MatmulInt4Add
            | Self::MatmulInt8Store
            | Self::MatmulInt8Add => matmul_packed::SHARED_MEMORY,
            _ => 0,
        }
    }
}

/// The kernels of one card, loaded.
pub(super) struct Kernels {
    functions: HashMap<Kernel, CudaFunction>,
    /// Whether a kernel may start while the one before it ends.
    overlap: bool,
    /// Not the next one, though: see [`Kernels::settle`].
    settles: AtomicBool,
}

/// The driver that captures overlapping launches into graphs.
const OVERLAP_DRIVER: u32 = 12_030;

impl Kernels {
    pub(super) fn load(context: &Arc<CudaContext>, info: &GpuInfo) -> Result<Self, KernelError> {
        let code = info.code;
        let mut functions = HashMap::new();
        for image in fatbin::IMAGES {
            let module = context
                .load_module(Ptx::from_binary(image.bytes(code)?))
                .during("load the kernels")?;
            for (kernel, _, name) in Kernel::ALL
                .iter()
                .filter(|(_, stem, _)| *stem == image.stem)
            {
                let function = module.load_function(name).during("find a kernel")?;
                if code == GpuCode::Machine(90) && kernel.shared_memory() > 0 {
                    let most =
                        CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                    function
                        .set_attribute(most, kernel.shared_memory() as i32)
                        .during(name)?;
                }
                functions.insert(*kernel, function);
            }
        }
        let overlap = code == GpuCode::Machine(90) && info.driver_cuda >= OVERLAP_DRIVER;
        Ok(Self {
            functions,
            overlap,
            settles: AtomicBool::new(false),
        })
    }

    /// Has the next kernel start only once the last one is over, so that those after it may read
    /// what that one wrote before they have waited for anything.
    pub(super) fn settle(&self) {
        self.settles.store(true, Ordering::Relaxed);
    }
}

/// How many threads run a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) grid: (u32, u32, u32),
    pub(crate) block: u32,
}

impl Gpu {
    /// Puts `kernel` on the stream. An empty grid is nothing to do.
    ///
    /// # Safety
    /// `params` point to values of the types, and in the order, of the kernel's signature; every
    /// address in them is memory that the card reaches, whose users keep to this stream's order,
    /// and as large as the kernel reads and writes for `geometry`.
    pub(super) unsafe fn launch(
        &self,
        kernel: Kernel,
        geometry: Geometry,
        params: &mut [*mut c_void],
    ) -> Result<(), KernelError> {
        let Geometry { grid, block } = geometry;
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(());
        }
        let function = self
            .kernels
            .functions
            .get(&kernel)
            .ok_or_else(|| KernelError::Driver {
                what: kernel.name(),
                code: 0,
                message: "this binary has no such kernel: its build is incomplete".into(),
            })?;
        let overlap = self.kernels.overlap && !self.kernels.settles.swap(false, Ordering::Relaxed);
        let mut attribute = sys::CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid.0,
            gridDimY: grid.1,
            gridDimZ: grid.2,
            blockDimX: block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: kernel.shared_memory(),
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(overlap),
        };
        self.stream
            .context()
            .bind_to_thread()
            .during(kernel.name())?;
        // SAFETY: the caller's promise; config, attribute and params are locals that outlive the
        // call, which copies them.
        unsafe {
            sys::cuLaunchKernelEx(
                &config,
                function.cu_function(),
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        }
        .result()
        .during(kernel.name())
    }
}

/// The addresses of locals, as a launch takes them.
macro_rules! params {
    ($($value:expr),+ $(,)?) => { &mut [$((&raw const $value).cast_mut().cast::<std::ffi::c_void>()),+] };
}
pub(super) use params;
