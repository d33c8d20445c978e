//! The matrix products of prefill (GEMM) on sm_90 for packed weights and, of few tokens, for dense
//! ones: `wgmma` computes the transposed product, so that packed weights come from registers.

use moss_weights::{KernelError, Rule};

use crate::{
    address::Out,
    args::{Epilogue, TensorMap, TransposedGemmArgs},
    buffer::{Buffer, View},
    contract::count,
    device::Gpu,
    gemm_tiles::{
        CLUSTER, GemmScratch, TILE_OUTPUTS, output_tiles, semaphores, slices, thread_blocks,
        tile_tokens, weight_map,
    },
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{BLOCK, TILE},
    linear_args::{OP, Operand, PairLaunch},
    tensor_map::Boxes,
    weights::Format,
};

/// Threads of a block: three warpgroups that multiply, and one that copies.
const THREADS: u32 = 512;

/// Launches the product. `scratch` is for a residual sum.
pub(crate) fn launch<'a>(
    gpu: &Gpu,
    call: &Call<'a>,
    pass: &PairLaunch<'a>,
    n: usize,
    scratch: Option<&'a GemmScratch>,
) -> Result<(), KernelError> {
    let tokens = tile_tokens(n);
    let output_tiles: usize = pass.outputs().map(output_tiles).sum();
    let slices = slices(pass.args.epilogue);
    let semaphores = match scratch {
        Some(scratch) => {
            let used = semaphores(output_tiles, n);
            call.output("semaphores", &scratch.semaphores, used)?
        }
        None => Out::NULL,
    };
    let mut args = TransposedGemmArgs {
        x: [TensorMap::NONE; 2],
        weight: [TensorMap::NONE; 2],
        table: [TensorMap::NONE; 2],
        linear: pass.args,
        semaphores,
        slices: count(OP, "slices", slices)?,
    };
    for (i, operand) in pass.operands.into_iter().enumerate() {
        let Some(operand) = operand else { continue };
        args.x[i] = input_map(call, operand, n, tokens)?;
        if pass.format == Format::F16 {
            args.weight[i] = weight_map(call, operand)?;
        } else {
            [args.weight[i], args.table[i]] = packed_maps(call, operand)?;
        }
    }
    let items = output_tiles * n.div_ceil(tokens) * slices;
    let blocks = thread_blocks(gpu.info().multiprocessors, items);
    let geometry = Geometry {
        grid: (count(OP, "thread blocks", blocks)?, 1, 1),
        block: THREADS,
    };
    call.launch(
        kernel_for(pass.format, pass.args.epilogue, tokens),
        geometry,
        &args,
    )
}

/// Returns the map of the input: boxes of half of a tile's tokens and one block of inputs.
fn input_map<'a>(
    call: &Call<'a>,
    Operand { linear, x }: Operand<'a>,
    n: usize,
    tokens: usize,
) -> Result<TensorMap, KernelError> {
    let boxes = Boxes {
        values: x.values.all(),
        extents: [linear.input_stride(), n],
        strides: [x.stride],
        boxed: [BLOCK as u32, (tokens / CLUSTER) as u32],
    };
    call.tensor_map("input", boxes)
}

/// Returns the maps of a packed weight and its table: boxes of the outputs of a tile, and of 256
/// words (a block of 64 inputs in int8, two in int4) or one group.
fn packed_maps<'a>(
    call: &Call<'a>,
    Operand { linear, .. }: Operand<'a>,
) -> Result<[TensorMap; 2], KernelError> {
    let words = |buffer: &'a Buffer<u8>, words, boxed| Boxes {
        values: View::<u32>::of_bytes(buffer),
        extents: [words, linear.tiles()],
        strides: [words],
        boxed: [boxed, (TILE_OUTPUTS / TILE) as u32],
    };
    let tile_words = linear.weight.len() / 4 / linear.tiles();
    let table = linear.table.as_ref().ok_or(KernelError::Argument {
        op: OP,
        arg: "table",
        found: 0,
        rule: Rule::AtLeast(1),
    })?;
    Ok([
        call.tensor_map("weight", words(&linear.weight, tile_words, 256))?,
        call.tensor_map("table", words(table, linear.groups * 16, 16))?,
    ])
}

fn kernel_for(format: Format, epilogue: Epilogue, tokens: usize) -> Kernel<TransposedGemmArgs> {
    let is_heads = epilogue == Epilogue::QkvRopeGelu;
    match (format, is_heads, tokens) {
        (Format::F16, true, 16) => Kernel::F16_ROPE_GELU_N16,
        (Format::F16, true, 32) => Kernel::F16_ROPE_GELU_N32,
        (Format::F16, true, _) => Kernel::F16_ROPE_GELU_N64,
        (Format::F16, false, 16) => Kernel::F16_RESIDUAL_N16,
        (Format::F16, false, 32) => Kernel::F16_RESIDUAL_N32,
        (Format::F16, false, _) => Kernel::F16_RESIDUAL_N64,
        (Format::Int8, true, 16) => Kernel::INT8_ROPE_GELU_N16,
        (Format::Int8, true, 32) => Kernel::INT8_ROPE_GELU_N32,
        (Format::Int8, true, 64) => Kernel::INT8_ROPE_GELU_N64,
        (Format::Int8, true, _) => Kernel::INT8_ROPE_GELU_N128,
        (Format::Int8, false, 16) => Kernel::INT8_RESIDUAL_N16,
        (Format::Int8, false, 32) => Kernel::INT8_RESIDUAL_N32,
        (Format::Int8, false, 64) => Kernel::INT8_RESIDUAL_N64,
        (Format::Int8, false, _) => Kernel::INT8_RESIDUAL_N128,
        (Format::Int4, true, 16) => Kernel::INT4_ROPE_GELU_N16,
        (Format::Int4, true, 32) => Kernel::INT4_ROPE_GELU_N32,
        (Format::Int4, true, 64) => Kernel::INT4_ROPE_GELU_N64,
        (Format::Int4, true, _) => Kernel::INT4_ROPE_GELU_N128,
        (Format::Int4, false, 16) => Kernel::INT4_RESIDUAL_N16,
        (Format::Int4, false, 32) => Kernel::INT4_RESIDUAL_N32,
        (Format::Int4, false, 64) => Kernel::INT4_RESIDUAL_N64,
        (Format::Int4, false, _) => Kernel::INT4_RESIDUAL_N128,
    }
}
