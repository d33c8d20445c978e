//! `verify`: compares the results of this engine with the expected values of a folder.

use std::process::ExitCode;

use moss::{LoadOptions, Moss, cpu::Activations, model::ComputeDtype};
use moss_bench::verify::{
    self, Check, CheckKind, ExpectedValues, Outcome, VerifyOptions, values_of,
};

use moss_messages::{Text, msg};

use crate::{
    args::{Cli, RopeArg, VerifyArgs},
    errors::{Context, build_failed},
    fold::left,
    open,
    printer::Printer,
    source,
};

/// Width of a label on a terminal.
const LABEL: usize = 28;

pub(crate) fn run(args: &VerifyArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::at(&args.dir, &cli.model), cli, printer)?;
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
        .unwrap_or_else(|| values_of(&args.dir, stem));
    let expected = ExpectedValues::read(&folder, stem)?;
    let window = checkpoint.config().context_length;
    let options = LoadOptions {
        large_m_from: args.many_rows_from,
        ..found.load_options(window).map_err(build_failed)?
    };
    let mut model = Moss::load(&checkpoint, &options, &mut |_| {})?;
    let exact = if checkpoint.quantization().is_some() {
        1e-3
    } else {
        1e-4
    };
    let f16_difference = expected.max_f16_difference().unwrap_or(0.03);
    let by_type = match options.dtype {
        // int8 has four bits less than f16, relative to the largest input of each group.
        _ if options.activations == Activations::Int8 => 32.0 * f16_difference,
        ComputeDtype::F32 => exact,
        ComputeDtype::F16 => 2.0 * f16_difference,
        ComputeDtype::BF16 => 16.0 * f16_difference,
    };
    let tolerance = args.tolerance.unwrap_or(by_type);
    let options = VerifyOptions {
        tolerance,
        // With rounded activations on the CPU, greedy paths may differ where two scores are close.
        greedy: options.dtype == ComputeDtype::F32 || open::any_gpu(&options.devices),
        sampling: options.dtype == ComputeDtype::F32,
    };
    let (mut failed, mut printed) = (0, Ok(()));
    let mut each = |check: Check| {
        failed += usize::from(!check.passed());
        if printed.is_ok() {
            printed = printer.report(&line(&check, printer));
        }
    };
    let pool = found.pool().map_err(build_failed)?;
    pool.install(|| verify::run(&mut model, &expected, options, &mut each))?;
    printed?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(check: &Check, printer: &Printer) -> String {
    let [what, found] = [what(&check.kind), found(check)].map(|text| printer.text(&text));
    let verdict = if check.passed() { "PASS" } else { "FAIL" };
    format!("{verdict} {} {found}\n", left(&what, LABEL))
}

fn what(kind: &CheckKind) -> Text {
    match kind {
        CheckKind::Logits => msg!("plain", value = "logits"),
        CheckKind::BestLogit => msg!("verify-best-logit"),
        CheckKind::LogSumExp => msg!("verify-logsumexp"),
        CheckKind::BestToken => msg!("verify-best-token"),
        CheckKind::HiddenStates { worst } => {
            let worst = match worst {
                Some(name) => msg!("plain", value = name),
                None => msg!("verify-none"),
            };
            msg!("verify-hidden", worst)
        }
        CheckKind::GreedyPaths => msg!("verify-greedy"),
        CheckKind::SamplingSets => msg!("verify-sampling"),
        CheckKind::SamplingProbabilities => msg!("verify-probabilities"),
    }
}

fn found(check: &Check) -> Text {
    match (&check.kind, check.outcome) {
        (_, Outcome::Difference { largest, allowed }) => {
            let difference = format!("{largest:.2e}");
            let allowed = format!("{allowed:.0e}");
            msg!("verify-difference", difference, allowed)
        }
        (CheckKind::GreedyPaths, Outcome::Mismatches { count, total }) => {
            msg!("verify-greedy-right", right = total - count, total)
        }
        (CheckKind::SamplingSets, Outcome::Mismatches { count, total }) => {
            msg!("verify-sampling-right", right = total - count, total)
        }
        (_, Outcome::Mismatches { count, .. }) => msg!("verify-positions-off", count),
    }
}
