//! The decode kernels of sm_90 for more than 16 tokens: persistent thread blocks that copy weights
//! and inputs with bulk tensor copies and multiply them with `wgmma`.

use moss_weights::{KernelError, Rule};

use crate::{
    args::{LinearSm90Args, TensorMap},
    buffer::{Buffer, View},
    contract::{count, rule},
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{BLOCK, TILE},
    linear_args::{OP, Operand, PairLaunch},
    linear_scratch::{CLUSTER, LinearScratch, Size},
    tensor_map::Boxes,
    weights::Format,
};

/// Launches the product of `n` tokens, whose inputs are in the order of fragments.
pub(crate) fn launch<'a>(
    call: &Call<'a>,
    pass: &PairLaunch<'a>,
    n: usize,
    multiprocessors: u32,
    scratch: &'a LinearScratch,
) -> Result<(), KernelError> {
    let most = scratch.max_tokens;
    rule(OP, "tokens", n, (1..=most).contains(&n), Rule::AtMost(most))?;
    let size = Size::for_tokens(n);
    let places = size.places(pass.outputs());
    let blocks = size.thread_blocks(multiprocessors as usize, places, n);
    let tiles: usize = pass.outputs().map(|outputs| outputs.div_ceil(TILE)).sum();
    let mut args = LinearSm90Args {
        x: [TensorMap::NONE; 2],
        weight: [TensorMap::NONE; 2],
        table: [TensorMap::NONE; 2],
        linear: pass.args,
        parts: call.output("parts", &scratch.parts, size.parts(blocks))?,
        tickets: call.output("tickets", &scratch.tickets, size.tickets(places, n))?,
        tiles: count(OP, "tiles", tiles)?,
    };
    for (i, operand) in pass.operands.into_iter().enumerate() {
        let Some(operand) = operand else { continue };
        args.x[i] = input_map(call, operand, n, size)?;
        if pass.format == Format::F16 {
            args.weight[i] = dense_map(call, operand, size)?;
        } else {
            [args.weight[i], args.table[i]] = packed_maps(call, operand, size)?;
        }
    }
    let geometry = Geometry {
        grid: (count(OP, "thread blocks", blocks)?, 1, 1),
        block: size.threads(),
    };
    call.launch(kernel_for(pass.format, size), geometry, &args)
}

/// Returns the map of the input: boxes of half of the tokens and one block of inputs.
fn input_map<'a>(
    call: &Call<'a>,
    Operand { linear, x }: Operand<'a>,
    n: usize,
    size: Size,
) -> Result<TensorMap, KernelError> {
    let boxes = Boxes {
        values: x.values.all(),
        extents: [linear.input_stride(), n],
        strides: [x.stride],
        boxed: [BLOCK as u32, (size.tokens / CLUSTER) as u32],
    };
    call.tensor_map("input", boxes)
}

/// Returns the map of a dense weight: boxes of the outputs of a thread block and one block of
/// inputs.
fn dense_map<'a>(
    call: &Call<'a>,
    Operand { linear, .. }: Operand<'a>,
    size: Size,
) -> Result<TensorMap, KernelError> {
    let boxes = Boxes {
        values: View::<half::f16>::of_bytes(&linear.weight),
        extents: [linear.input_stride(), linear.tiles() * TILE],
        strides: [linear.input_stride()],
        boxed: [BLOCK as u32, (size.tiles() * TILE) as u32],
    };
    call.tensor_map("weight", boxes)
}

/// Returns the maps of a packed weight and its table: boxes of the tiles of a thread block, and of
/// 256 words (a block of 64 inputs in int8, two in int4) or one group.
fn packed_maps<'a>(
    call: &Call<'a>,
    Operand { linear, .. }: Operand<'a>,
    size: Size,
) -> Result<[TensorMap; 2], KernelError> {
    let words = |buffer: &'a Buffer<u8>, words, boxed| Boxes {
        values: View::<u32>::of_bytes(buffer),
        extents: [words, linear.tiles()],
        strides: [words],
        boxed: [boxed, size.tiles() as u32],
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

fn kernel_for(format: Format, size: Size) -> Kernel<LinearSm90Args> {
    let [n32, n64] = match format {
        Format::F16 => [Kernel::SM90_F16_N32, Kernel::SM90_F16_N64],
        Format::Int8 => [Kernel::SM90_INT8_N32, Kernel::SM90_INT8_N64],
        Format::Int4 => [Kernel::SM90_INT4_N32, Kernel::SM90_INT4_N64],
    };
    if size.tokens == 32 { n32 } else { n64 }
}
