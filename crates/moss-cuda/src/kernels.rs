//! The registry of kernels: names, parameters, and the functions loaded on a GPU.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cudarc::{
    driver::{CudaContext, CudaFunction, CudaStream, LaunchConfig, sys::CUfunction_attribute},
    nvrtc::Ptx,
};
use moss_weights::{DriverCall, KernelError};

use crate::{
    args::{
        AddBiasF32Args, CausalSoftmaxF32Args, CopyRunsArgs, DecodeAttentionArgs, DecodeLinearArgs,
        EmbeddingArgs, FillRandomArgs, GemmArgs, KvQuantizeArgs, LayerNormArgs, LayerNormF32Args,
        LinearArgs, LinearSm90Args, MergeHeadsF32Args, PermuteUpperF32Args, PrefillAttentionArgs,
        PrefillAttentionSm90Args, RepackArgs, RepackTableArgs, SampleArgs, SplitHeadsF32Args,
        TransposedGemmArgs,
    },
    contract::During,
    fatbin,
    gpu_info::{GpuCode, GpuInfo},
    shared_memory,
};

/// A `__global__` function that takes the parameters `A`.
pub(crate) struct Kernel<A> {
    name: &'static str,
    args: PhantomData<fn(A)>,
}

impl<A> Clone for Kernel<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Kernel<A> {}

impl<A> Kernel<A> {
    /// Returns the name of the function.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }
}

/// A kernel's row in the registry.
pub(crate) struct Entry {
    /// File in `kernels/`, without its ending.
    stem: &'static str,
    pub(crate) name: &'static str,
    /// Bytes of each parameter.
    #[cfg(test)]
    pub(crate) parameters: &'static [usize],
    /// Bytes of dynamic shared memory of a thread block.
    shared_memory: u32,
}

macro_rules! kernels {
    ($($args:ident: $stem:literal {
        $($constant:ident = $name:literal $(with $shared_memory:expr)?,)+
    })+) => {
        $(
            impl Kernel<$args> {
                $(pub(crate) const $constant: Self = Self { name: $name, args: PhantomData };)+
            }
        )+

        /// Every kernel.
        pub(crate) const REGISTRY: &[Entry] = &[$($(Entry {
            stem: $stem,
            name: $name,
            #[cfg(test)]
            parameters: <$args as crate::args::Arguments>::PARAMETERS,
            shared_memory: 0 $(+ $shared_memory)?,
        }),+),+];
    };
}

kernels! {
    DecodeAttentionArgs: "attention_decode" {
        HEAD_16 = "attention_decode_16",
        HEAD_32 = "attention_decode_32",
        HEAD_64 = "attention_decode_64",
        HEAD_128 = "attention_decode_128",
        HEAD_256 = "attention_decode_256",
        INT8_HEAD_16 = "attention_decode_int8_16",
        INT8_HEAD_32 = "attention_decode_int8_32",
        INT8_HEAD_64 = "attention_decode_int8_64",
        INT8_HEAD_128 = "attention_decode_int8_128",
        INT8_HEAD_256 = "attention_decode_int8_256",
    }
    PrefillAttentionArgs: "attention_prefill" {
        HEAD_16 = "attention_prefill_16",
        HEAD_32 = "attention_prefill_32",
        HEAD_64 = "attention_prefill_64",
        HEAD_128 = "attention_prefill_128",
        HEAD_256 = "attention_prefill_256",
        INT8_HEAD_16 = "attention_prefill_int8_16",
        INT8_HEAD_32 = "attention_prefill_int8_32",
        INT8_HEAD_64 = "attention_prefill_int8_64",
        INT8_HEAD_128 = "attention_prefill_int8_128",
        INT8_HEAD_256 = "attention_prefill_int8_256",
    }
    PrefillAttentionSm90Args: "attention_prefill_sm90" {
        HEAD_64 = "attention_prefill_sm90_64" with shared_memory::ATTENTION_64,
        HEAD_128 = "attention_prefill_sm90_128" with shared_memory::ATTENTION_128,
        HEAD_256 = "attention_prefill_sm90_256" with shared_memory::ATTENTION_256,
        INT8_HEAD_64 = "attention_prefill_sm90_int8_64" with shared_memory::ATTENTION_64,
        INT8_HEAD_128 = "attention_prefill_sm90_int8_128" with shared_memory::ATTENTION_128,
        INT8_HEAD_256 = "attention_prefill_sm90_int8_256" with shared_memory::ATTENTION_256,
    }
    CopyRunsArgs: "copy_runs" { // idiom-ok: file name
        BATCHED_MEMCPY = "copy_runs", // idiom-ok: name of the function
    }
    EmbeddingArgs: "embedding" { EMBEDDING = "embedding", }
    LinearArgs: "gemm_mma" {
        GEMM_F16_N64 = "gemm_mma_f16_n64",
        GEMM_F16_N128 = "gemm_mma_f16_n128",
        GEMM_INT8_N64 = "gemm_mma_int8_n64",
        GEMM_INT8_N128 = "gemm_mma_int8_n128",
        GEMM_INT4_N64 = "gemm_mma_int4_n64",
        GEMM_INT4_N128 = "gemm_mma_int4_n128",
    }
    GemmArgs: "gemm_sm90" {
        F16_ROPE_GELU = "gemm_f16_rope_gelu" with shared_memory::GEMM,
        F16_RESIDUAL = "gemm_f16_residual" with shared_memory::GEMM,
    }
    TransposedGemmArgs: "gemm_transposed_sm90" {
        F16_ROPE_GELU_N16 = "gemm_transposed_f16_rope_gelu_n16" with shared_memory::GEMM_TRANSPOSED,
        F16_ROPE_GELU_N32 = "gemm_transposed_f16_rope_gelu_n32" with shared_memory::GEMM_TRANSPOSED,
        F16_ROPE_GELU_N64 = "gemm_transposed_f16_rope_gelu_n64" with shared_memory::GEMM_TRANSPOSED,
        F16_RESIDUAL_N16 = "gemm_transposed_f16_residual_n16" with shared_memory::GEMM_TRANSPOSED,
        F16_RESIDUAL_N32 = "gemm_transposed_f16_residual_n32" with shared_memory::GEMM_TRANSPOSED,
        F16_RESIDUAL_N64 = "gemm_transposed_f16_residual_n64" with shared_memory::GEMM_TRANSPOSED,
        INT8_ROPE_GELU_N16 = "gemm_transposed_int8_rope_gelu_n16" with shared_memory::GEMM_TRANSPOSED,
        INT8_ROPE_GELU_N32 = "gemm_transposed_int8_rope_gelu_n32" with shared_memory::GEMM_TRANSPOSED,
        INT8_ROPE_GELU_N64 = "gemm_transposed_int8_rope_gelu_n64" with shared_memory::GEMM_TRANSPOSED,
        INT8_ROPE_GELU_N128 = "gemm_transposed_int8_rope_gelu_n128" with shared_memory::GEMM_TRANSPOSED,
        INT8_RESIDUAL_N16 = "gemm_transposed_int8_residual_n16" with shared_memory::GEMM_TRANSPOSED,
        INT8_RESIDUAL_N32 = "gemm_transposed_int8_residual_n32" with shared_memory::GEMM_TRANSPOSED,
        INT8_RESIDUAL_N64 = "gemm_transposed_int8_residual_n64" with shared_memory::GEMM_TRANSPOSED,
        INT8_RESIDUAL_N128 = "gemm_transposed_int8_residual_n128" with shared_memory::GEMM_TRANSPOSED,
        INT4_ROPE_GELU_N16 = "gemm_transposed_int4_rope_gelu_n16" with shared_memory::GEMM_TRANSPOSED,
        INT4_ROPE_GELU_N32 = "gemm_transposed_int4_rope_gelu_n32" with shared_memory::GEMM_TRANSPOSED,
        INT4_ROPE_GELU_N64 = "gemm_transposed_int4_rope_gelu_n64" with shared_memory::GEMM_TRANSPOSED,
        INT4_ROPE_GELU_N128 = "gemm_transposed_int4_rope_gelu_n128" with shared_memory::GEMM_TRANSPOSED,
        INT4_RESIDUAL_N16 = "gemm_transposed_int4_residual_n16" with shared_memory::GEMM_TRANSPOSED,
        INT4_RESIDUAL_N32 = "gemm_transposed_int4_residual_n32" with shared_memory::GEMM_TRANSPOSED,
        INT4_RESIDUAL_N64 = "gemm_transposed_int4_residual_n64" with shared_memory::GEMM_TRANSPOSED,
        INT4_RESIDUAL_N128 = "gemm_transposed_int4_residual_n128" with shared_memory::GEMM_TRANSPOSED,
    }
    KvQuantizeArgs: "kv_quantize" { KV_QUANTIZE = "kv_quantize", }
    LayerNormF32Args: "f32_ops" { LAYER_NORM = "layer_norm_f32", }
    AddBiasF32Args: "f32_ops" { ADD_BIAS = "add_bias_f32", }
    SplitHeadsF32Args: "f32_ops" { SPLIT_HEADS = "split_heads_f32", }
    MergeHeadsF32Args: "f32_ops" { MERGE_HEADS = "merge_heads_f32", }
    CausalSoftmaxF32Args: "f32_ops" { CAUSAL_SOFTMAX = "causal_softmax_f32", }
    PermuteUpperF32Args: "f32_ops" { PERMUTE_UPPER = "permute_upper_f32", }
    LayerNormArgs: "layer_norm" { LAYER_NORM = "layer_norm", }
    DecodeLinearArgs: "linear_f16" {
        F16_N8 = "linear_f16_n8",
        F16_N16 = "linear_f16_n16",
        F16_N32 = "linear_f16_n32",
        F16_N64 = "linear_f16_n64",
    }
    DecodeLinearArgs: "linear_int4" {
        INT4_N8 = "linear_int4_n8",
        INT4_N16 = "linear_int4_n16",
        INT4_N32 = "linear_int4_n32",
        INT4_N64 = "linear_int4_n64",
    }
    DecodeLinearArgs: "linear_int8" {
        INT8_N8 = "linear_int8_n8",
        INT8_N16 = "linear_int8_n16",
        INT8_N32 = "linear_int8_n32",
        INT8_N64 = "linear_int8_n64",
    }
    DecodeLinearArgs: "linear_persistent" {
        PERSISTENT_INT8_N8 = "linear_persistent_int8_n8",
        PERSISTENT_INT4_N8 = "linear_persistent_int4_n8",
        PERSISTENT_INT4_N16 = "linear_persistent_int4_n16",
    }
    LinearSm90Args: "linear_sm90" {
        SM90_F16_N32 = "linear_sm90_f16_n32" with shared_memory::LINEAR_SM90,
        SM90_F16_N64 = "linear_sm90_f16_n64" with shared_memory::LINEAR_SM90,
        SM90_INT8_N32 = "linear_sm90_int8_n32" with shared_memory::LINEAR_SM90,
        SM90_INT8_N64 = "linear_sm90_int8_n64" with shared_memory::LINEAR_SM90,
        SM90_INT4_N32 = "linear_sm90_int4_n32" with shared_memory::LINEAR_SM90,
        SM90_INT4_N64 = "linear_sm90_int4_n64" with shared_memory::LINEAR_SM90,
    }
    RepackArgs: "repack" {
        INT4 = "repack_int4",
        INT8 = "repack_int8",
    }
    RepackTableArgs: "repack" {
        INT4 = "repack_table_int4",
        INT8 = "repack_table_int8",
    }
    FillRandomArgs: "repack" { FILL_RANDOM = "fill_random", }
    SampleArgs: "sampling" {
        SCORE = "sample_score",
        DRAW = "sample_draw",
    }
}

/// The kernels, loaded on a GPU.
pub(crate) struct Kernels {
    functions: HashMap<&'static str, Loaded>,
    /// Is true if a kernel may start before the preceding one has finished (programmatic dependent
    /// launch).
    has_dependent_launch: bool,
    /// Disables programmatic dependent launch for the next kernel.
    is_next_serialized: AtomicBool,
}

/// A loaded kernel.
pub(crate) struct Loaded {
    pub(crate) function: CudaFunction,
    pub(crate) shared_memory: u32,
}

/// Thread blocks of a cluster, in every kernel that has clusters.
const CLUSTER: u32 = 2;

/// The first driver that captures programmatic dependent launches into CUDA graphs.
const DEPENDENT_LAUNCH_DRIVER: u32 = 12_030;

impl Kernels {
    pub(crate) fn load(context: &Arc<CudaContext>, info: &GpuInfo) -> Result<Self, KernelError> {
        let code = info.code;
        let mut functions = HashMap::new();
        for image in fatbin::IMAGES {
            let module = context
                .load_module(Ptx::from_binary(image.bytes(code)?))
                .during(DriverCall::LoadKernels)?;
            for entry in REGISTRY.iter().filter(|entry| entry.stem == image.stem) {
                let function = module
                    .load_function(entry.name)
                    .during(DriverCall::FindKernel)?;
                let shared_memory = entry.shared_memory;
                if code == GpuCode::Machine(90) && shared_memory > 0 {
                    let limit =
                        CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                    function
                        .set_attribute(limit, shared_memory as i32)
                        .during(DriverCall::Kernel(entry.name))?;
                }
                let loaded = Loaded {
                    function,
                    shared_memory,
                };
                functions.insert(entry.name, loaded);
            }
        }
        let is_sm_90 = code == GpuCode::Machine(90);
        Ok(Self {
            functions,
            has_dependent_launch: is_sm_90 && info.driver_cuda >= DEPENDENT_LAUNCH_DRIVER,
            is_next_serialized: AtomicBool::new(false),
        })
    }

    /// Returns a loaded kernel.
    pub(crate) fn get(&self, name: &'static str) -> Result<&Loaded, KernelError> {
        self.functions.get(name).ok_or_else(|| KernelError::Driver {
            what: DriverCall::Kernel(name),
            code: 0,
            message: "this binary has no such kernel: its build is incomplete".into(),
        })
    }

    /// Returns the kernels of `kernels/STEM.cu`, which have clusters, and the clusters of each that
    /// the GPU runs at the same time.
    pub(crate) fn active_clusters(
        &self,
        stem: &str,
        stream: &CudaStream,
    ) -> Result<Vec<(&'static str, usize)>, KernelError> {
        let entries = REGISTRY.iter().filter(|entry| entry.stem == stem);
        let clusters = entries.map(|entry| {
            let call = DriverCall::Kernel(entry.name);
            let loaded = self.get(entry.name)?;
            // The block size of the launches, which `__launch_bounds__` states.
            let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
            let threads = loaded.function.get_attribute(limit).during(call)?;
            let config = LaunchConfig {
                grid_dim: (CLUSTER, 1, 1),
                block_dim: (threads as u32, 1, 1),
                shared_mem_bytes: loaded.shared_memory,
            };
            let found = loaded
                .function
                .occupancy_max_active_clusters(config, stream);
            Ok((entry.name, found.during(call)? as usize))
        });
        clusters.collect()
    }

    /// Disables programmatic dependent launch for the next kernel. It starts when the preceding one
    /// has finished, so it and the kernels after it may read the results of the preceding one
    /// before `griddepcontrol.wait`.
    pub(crate) fn serialize_next(&self) {
        self.is_next_serialized.store(true, Ordering::Relaxed);
    }

    /// Returns whether the kernel that is launched now may start before the preceding one has
    /// finished.
    pub(crate) fn next_is_dependent(&self) -> bool {
        self.has_dependent_launch && !self.is_next_serialized.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Returns the bytes of a parameter declaration such as `.param .u64 name` or
    /// `.param .align 8 .b8 name[144]`.
    fn parameter_bytes(declaration: &str) -> usize {
        if let Some((_, count)) = declaration.split_once('[') {
            return count.trim_end().trim_end_matches(']').parse().unwrap();
        }
        let bits = declaration
            .split_whitespace()
            .find_map(|word| word.strip_prefix(".param").map_or(Some(word), |_| None))
            .unwrap();
        let bits: usize = bits
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap();
        bits / 8
    }

    /// Returns the parameters of every kernel of a PTX file.
    fn signatures(ptx: &str) -> BTreeMap<String, Vec<usize>> {
        let entries = ptx.split(".entry ").skip(1);
        entries
            .map(|entry| {
                let (name, rest) = entry.split_once('(').unwrap();
                let (list, _) = rest.split_once(')').unwrap();
                (
                    name.trim().to_owned(),
                    list.split(',').map(parameter_bytes).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn the_ptx_of_every_kernel_declares_the_parameters_that_are_passed() {
        for image in fatbin::IMAGES {
            let ptx = image.bytes(GpuCode::Ptx(75)).unwrap();
            let ptx = String::from_utf8_lossy(&ptx);
            let entries = REGISTRY.iter().filter(|entry| entry.stem == image.stem);
            let passed: BTreeMap<_, _> = entries
                .map(|entry| (entry.name.to_owned(), entry.parameters.to_vec()))
                .collect();
            assert_eq!(signatures(&ptx), passed, "{}", image.stem);
        }
    }

    #[test]
    fn every_kernel_belongs_to_an_embedded_file() {
        for entry in REGISTRY {
            assert!(
                fatbin::IMAGES.iter().any(|image| image.stem == entry.stem),
                "{}",
                entry.name
            );
        }
    }
}
