//! The matrix products of prefill (GEMM) on sm_90: persistent thread blocks that copy their inputs
//! with bulk tensor copies and multiply them with `wgmma`. Here those of dense weights and more than
//! [`FEW_TOKENS`] tokens; `gemm_transposed.rs` has the others.

use moss_weights::KernelError;

use crate::{
    address::Out,
    args::{Epilogue, GemmArgs, TensorMap},
    contract::count,
    device::Gpu,
    gemm_tiles::{GemmScratch, output_tiles, slices, thread_blocks, weight_map},
    gemm_transposed,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::BLOCK,
    linear_args::{OP, Operand, PairLaunch},
    tensor_map::Boxes,
    weights::Format,
};

/// Tokens of the tile that a thread block computes.
const TILE_TOKENS: usize = 128;

/// The most tokens of a dense weight for which `gemm_transposed.rs` is faster. The bits of the
/// results are the same.
const FEW_TOKENS: usize = 64;

/// Launches the product. `scratch` is for a residual sum.
pub(crate) fn launch<'a>(
    gpu: &Gpu,
    call: &Call<'a>,
    pass: &PairLaunch<'a>,
    n: usize,
    scratch: Option<&'a GemmScratch>,
) -> Result<(), KernelError> {
    if pass.format != Format::F16 || n <= FEW_TOKENS {
        return gemm_transposed::launch(gpu, call, pass, n, scratch);
    }
    let output_tiles: usize = pass.outputs().map(output_tiles).sum();
    let tiles = output_tiles * n.div_ceil(TILE_TOKENS);
    let slices = slices(pass.args.epilogue);
    let semaphores = match scratch {
        Some(scratch) => call.output("semaphores", &scratch.semaphores, tiles)?,
        None => Out::NULL,
    };
    let mut args = GemmArgs {
        x: [TensorMap::NONE; 2],
        weight: [TensorMap::NONE; 2],
        linear: pass.args,
        semaphores,
        slices: count(OP, "slices", slices)?,
    };
    let maps = args.x.iter_mut().zip(&mut args.weight);
    for ((x, weight), operand) in maps.zip(pass.operands) {
        let Some(operand) = operand else { continue };
        *x = input_map(call, operand, n)?;
        *weight = weight_map(call, operand)?;
    }
    let blocks = thread_blocks(gpu.info().multiprocessors, tiles * slices);
    let geometry = Geometry {
        grid: (count(OP, "thread blocks", blocks)?, 1, 1),
        block: 384,
    };
    let kernel = match pass.args.epilogue {
        Epilogue::QkvRopeGelu => Kernel::F16_ROPE_GELU,
        Epilogue::Store | Epilogue::Residual => Kernel::F16_RESIDUAL,
    };
    call.launch(kernel, geometry, &args)
}

/// Returns the map of the input: boxes of 64 tokens and one block of inputs.
fn input_map<'a>(
    call: &Call<'a>,
    operand: Operand<'a>,
    n: usize,
) -> Result<TensorMap, KernelError> {
    let Operand { linear, x } = operand;
    let boxes = Boxes {
        values: x.values.all(),
        extents: [linear.input_stride(), n],
        strides: [x.stride],
        boxed: [BLOCK as u32, 64],
    };
    call.tensor_map("input", boxes)
}
