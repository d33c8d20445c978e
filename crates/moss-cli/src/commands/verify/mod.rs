//! `verify`: a folder that carries expected values against what this engine computes.

use std::process::ExitCode;

use moss::{LoadOptions, Moss, cpu::Activations, model::ComputeDtype};
use moss_bench::verify::{
    self, Check, CheckKind, ExpectedValues, Outcome, VerifyOptions, values_of,
};

use crate::{
    args::{Cli, RopeArg, VerifyArgs},
    errors::{OrFail, build_failed},
    fold::left,
    messages::Words,
    open,
    printer::Printer,
    source,
};

/// Places of what is compared, on a terminal.
const LABEL: usize = 28;

pub(crate) fn run(args: &VerifyArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::at(&args.dir, &cli.model), cli, printer)?;
    let mut found = open::find_local(builder, &cli.model)?;
    let checkpoint = found
        .checkpoint()
        .or_fail("cannot open the checkpoint", "无法打开检查点")?;
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
        many_rows_from: args.many_rows_from,
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
        // Four bits fewer than f16, of the largest input of each group.
        _ if options.activations == Activations::Int8 => 32.0 * f16_difference,
        ComputeDtype::F32 => exact,
        ComputeDtype::F16 => 2.0 * f16_difference,
        ComputeDtype::BF16 => 16.0 * f16_difference,
    };
    let tolerance = args.tolerance.unwrap_or(by_type);
    let options = VerifyOptions {
        tolerance,
        // Rounded activations may leave the oracle's path where two scores are close; on a GPU
        // there is no other rounding.
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
    let (what, found) = (what(&check.kind), found(check));
    let what = left(what.of(printer.language), LABEL);
    let verdict = if check.passed() { "PASS" } else { "FAIL" };
    format!("{verdict} {what} {}\n", found.of(printer.language))
}

fn what(kind: &CheckKind) -> Words {
    match kind {
        CheckKind::Logits => ("logits", "logits").into(),
        CheckKind::BestLogit => ("best logit of each position", "各位置最高的 logit").into(),
        CheckKind::LogSumExp => ("logsumexp of each position", "各位置的 logsumexp").into(),
        CheckKind::BestToken => ("best token", "首选词元").into(),
        CheckKind::HiddenStates { worst } => {
            let (en, zh) = match worst {
                Some(name) => (name.as_str(), name.as_str()),
                None => ("none", "无"),
            };
            (format!("hidden states ({en})"), format!("隐藏状态（{zh}）")).into()
        }
        CheckKind::GreedyPaths => ("greedy paths", "贪心路径").into(),
        CheckKind::SamplingSets => ("sampling sets", "采样候选集").into(),
        CheckKind::SamplingProbabilities => ("sampling probabilities", "采样概率").into(),
    }
}

fn found(check: &Check) -> Words {
    match (&check.kind, check.outcome) {
        (_, Outcome::Difference { largest, allowed }) => (
            format!("largest difference {largest:.2e}, allowed {allowed:.0e}"),
            format!("最大差异 {largest:.2e}，允许 {allowed:.0e}"),
        ),
        (CheckKind::GreedyPaths, Outcome::Mismatches { count, total }) => {
            let right = total - count;
            (
                format!("{right} of {total} token for token"),
                format!("{total} 条中 {right} 条逐词元一致"),
            )
        }
        (CheckKind::SamplingSets, Outcome::Mismatches { count, total }) => {
            let right = total - count;
            (
                format!("{right} of {total} with the same tokens"),
                format!("{total} 个中 {right} 个词元相同"),
            )
        }
        (_, Outcome::Mismatches { count, .. }) => (
            format!("{count} position(s) off"),
            format!("{count} 个位置不符"),
        ),
    }
    .into()
}
