//! `verify`: compares the results of this engine with the expected values of a folder.

mod lines;
mod reference;

use std::{path::Path, process::ExitCode};

use moss::{
    Moss,
    cpu::Activations,
    model::{ComputeDtype, KvCacheType},
};
use moss_bench::verify::{self, Check, ExpectedValues, VerifyOptions, values_of};

use moss_messages::msg;

use crate::{
    args::{Cli, RopeArg, VerifyArgs},
    errors::{Context, build_failed},
    open,
    printer::Printer,
    source,
};

use lines::Lines;

pub(crate) fn run(args: &VerifyArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    match &args.dir {
        Some(dir) if !args.reference => run_expected(dir, args, cli, printer),
        _ => reference::run(args, cli, printer),
    }
}

/// Compares the model with the expected values of a folder.
fn run_expected(
    dir: &Path,
    args: &VerifyArgs,
    cli: &Cli,
    printer: &Printer,
) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::at(dir, &cli.model), cli, printer)?;
    let mut found = open::find_local(builder, &cli.model)?;
    let checkpoint = found.checkpoint().context(msg!("cannot-open-checkpoint"))?;
    let stem = if cli.model.rope_precision == RopeArg::F16 {
        "expected_fp16_rope"
    } else {
        "expected"
    };
    let folder = args
        .expected
        .clone()
        .unwrap_or_else(|| values_of(dir, stem));
    let expected = ExpectedValues::read(&folder, stem)?;
    let window = checkpoint.config().context_length;
    let options = found.load_options(window).map_err(build_failed)?;
    let mut model = Moss::load(&checkpoint, &options, &mut |_| {})?;
    let exact = if checkpoint.quantization().is_some() {
        1e-3
    } else {
        1e-4
    };
    let f16_difference = expected.max_f16_difference().unwrap_or(0.03);
    let int8_cache = options.kv_cache == KvCacheType::Int8;
    let by_type = match options.dtype {
        // int8 has four bits less than f16, relative to the largest input of each group, or the
        // largest value of each head.
        _ if options.activations == Activations::Int8 || int8_cache => 32.0 * f16_difference,
        ComputeDtype::F32 => exact,
        ComputeDtype::F16 => 2.0 * f16_difference,
        ComputeDtype::BF16 => 16.0 * f16_difference,
    };
    let tolerance = args.tolerance.unwrap_or(by_type);
    let options = VerifyOptions {
        tolerance,
        // With rounded activations on the CPU or a rounded cache, greedy paths may differ where two
        // scores are close.
        greedy: !int8_cache
            && (options.dtype == ComputeDtype::F32 || open::any_gpu(&options.devices)),
        sampling: !int8_cache && options.dtype == ComputeDtype::F32,
    };
    let mut lines = Lines::new(printer);
    let mut each = |check: Check| lines.print(&check);
    let pool = found.pool().map_err(build_failed)?;
    pool.install(|| verify::run(&mut model, &expected, options, &mut each))?;
    lines.exit_code()
}
