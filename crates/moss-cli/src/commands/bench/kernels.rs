//! `bench --kernels`: times each kernel of a decode step and of prompts separately.

use std::process::ExitCode;

use moss::model::{DeviceSpec, MossConfig, WeightFormat};
use moss_bench::kernel_timing::{
    self, KernelTime, KernelTimes, PromptTimes, StepTimes, TimingOptions, TimingReport,
};
use serde_json::{Value, json};

use moss_messages::{Language, Text, msg};

use crate::{
    args::{BenchArgs, Cli},
    errors::CliError,
    fold::{left, right},
    open,
    printer::Printer,
};

/// Widths of the columns after the kernel's name.
const WIDTHS: [usize; 6] = [6, 14, 12, 9, 9, 8];

/// Times the kernels at the published sizes, with random weights. The context of the decode steps
/// is the first prompt.
pub(super) fn run(args: &BenchArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let (format, layers) = (args.format.format(), args.layers);
    let prompts = match args.prompt.is_empty() {
        true => vec![512],
        false => args.prompt.clone(),
    };
    let devices = open::devices(&cli.model)?;
    let [
        DeviceSpec::Gpu {
            ordinal,
            newest_code,
        },
    ] = devices[..]
    else {
        let what = msg!("bench-one-gpu");
        return Err(CliError::new(what).into());
    };
    let window = MossConfig::moon_003().context_length;
    if let Some(found) = prompts.iter().copied().find(|n| !(2..=window).contains(n)) {
        let what = msg!("bench-positions", window, found);
        return Err(CliError::new(what).into());
    }
    let context = prompts.first().copied().unwrap_or(2);
    let bits = match format {
        WeightFormat::F16 => None,
        WeightFormat::Gptq(bits) => Some(bits),
    };
    let measured = kernel_timing::run(
        ordinal,
        newest_code,
        TimingOptions {
            bits,
            layers,
            context,
            prompts,
            rows: args.row_counts(),
        },
    )?;
    if args.json {
        let mut report = json!({
            "card": measured.device, // idiom-ok: published field
            "format": format.to_string(), "layers": layers, "context": context,
            "prompt_tokens": context, "bandwidth": measured.bandwidth,
            "step": whole_json(&measured.step, measured.bandwidth),
        });
        let prompt = |prompt: &PromptTimes| prompt_json(prompt, measured.bandwidth);
        let prompts: Vec<_> = measured.prompts.iter().map(prompt).collect();
        // Readers of one prompt find the first one.
        report["prompt"] = prompts.first().cloned().unwrap_or_default();
        report["prompts"] = prompts.into();
        if !measured.steps.is_empty() {
            let step = |step: &StepTimes| {
                let mut value = whole_json(&step.times, measured.bandwidth);
                value["rows"] = step.rows.into();
                value
            };
            report["rows"] = measured.steps.iter().map(step).collect();
        }
        printer.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let TimingReport {
        device,
        bandwidth,
        step,
        steps,
        prompts,
    } = &measured;
    let rate = bandwidth / 1e9;
    printer.report(&format!(
        "{}\n",
        printer.language.text(&msg!(
            "bench-kernels",
            device,
            format = format.to_string(),
            layers,
            rate,
        ))
    ))?;
    let title = msg!("bench-step", context);
    printer.report(&table(&title, step, &[], *bandwidth, printer.language))?;
    for StepTimes { rows, times } in steps {
        let title = msg!("bench-step-rows", rows, context);
        printer.report(&table(&title, times, &[], *bandwidth, printer.language))?;
    }
    for PromptTimes {
        tokens,
        times,
        baseline,
    } in prompts
    {
        let title = msg!("bench-prompt", prompt = tokens);
        let text = table(&title, times, baseline, *bandwidth, printer.language);
        printer.report(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the part of the whole time that the separate kernels do not explain.
fn unexplained(whole: &KernelTimes) -> f64 {
    1.0 - whole.sum() / whole.seconds
}

/// Returns the table of a step or a prompt: its kernels, their sum, and the baseline.
fn table(
    title: &Text,
    whole: &KernelTimes,
    baseline: &[KernelTime],
    bandwidth: f64,
    language: Language,
) -> String {
    let heads = language.text(&msg!("bench-kernel-columns"));
    let (kernel, columns) = heads.split_once(" | ").unwrap_or_default();
    let title = language.text(&msg!("bench-title", title, us = whole.seconds * 1e6));
    let columns: String = columns
        .split(" | ")
        .zip(WIDTHS)
        .map(|(name, width)| right(name, width))
        .collect();
    let lines = |times: &[KernelTime]| -> String {
        let line = |time| kernel_line(time, bandwidth);
        times.iter().map(line).collect()
    };
    let (sum, rest) = (whole.sum() * 1e6, unexplained(whole));
    format!(
        "{title}\n  {}{columns}\n{}  {}\n{}",
        left(kernel, 26),
        lines(&whole.kernels),
        language.text(&msg!("bench-sum", sum, rest)),
        lines(baseline),
    )
}

fn kernel_line(time: &KernelTime, bandwidth: f64) -> String {
    let KernelTime {
        kernel,
        calls,
        bytes,
        operations,
        seconds,
    } = time;
    let rate = *bytes as f64 / seconds;
    let arithmetic = match *operations > 0.0 {
        true => format!("{:.1}", operations / seconds / 1e12),
        false => "-".into(),
    };
    format!(
        "  {kernel:<26}{calls:>6}{bytes:>14}{:>12.2}{:>9.1}{arithmetic:>9}{:>8.3}\n",
        seconds * 1e6,
        rate / 1e9,
        rate / bandwidth,
    )
}

fn kernel_json(time: &KernelTime, bandwidth: f64) -> Value {
    let KernelTime {
        kernel,
        calls,
        bytes,
        operations,
        seconds,
    } = time;
    json!({
        "kernel": kernel, "runs": calls, "bytes": bytes, "flop": operations, "seconds": seconds,
        "bytes_per_s": *bytes as f64 / seconds, "share": *bytes as f64 / seconds / bandwidth,
    })
}

fn whole_json(whole: &KernelTimes, bandwidth: f64) -> Value {
    let kernel = |time| kernel_json(time, bandwidth);
    json!({
        "seconds": whole.seconds, "sum_of_kernels_s": whole.sum(), "unexplained": unexplained(whole),
        "kernels": whole.kernels.iter().map(kernel).collect::<Vec<_>>(),
    })
}

fn prompt_json(prompt: &PromptTimes, bandwidth: f64) -> Value {
    let baseline = prompt.baseline.iter();
    let mut value = whole_json(&prompt.times, bandwidth);
    value["tokens"] = prompt.tokens.into();
    value["baseline"] = baseline.map(|time| kernel_json(time, bandwidth)).collect();
    value
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn whole() -> KernelTimes {
        let kernel = |kernel, calls, bytes, seconds| KernelTime {
            kernel,
            calls,
            bytes,
            operations: bytes as f64 * 4.0,
            seconds,
        };
        KernelTimes {
            kernels: vec![
                kernel("layer_norm", 34, 1000, 1e-6),
                kernel("linear: lm_head", 1, 1_000_000, 6e-6),
            ],
            seconds: 50e-6,
        }
    }

    #[test]
    fn the_unexplained_part_is_relative_to_the_whole_time() {
        assert!((unexplained(&whole()) - 0.2).abs() < 1e-9);
        let text = table(
            &msg!("bench-step", context = 0),
            &whole(),
            &[],
            1e12,
            Language::En,
        );
        assert!(
            text.contains("sum of runs 40.0 us; 1 - sum / whole = 0.200"),
            "{text}"
        );
    }

    #[test]
    fn a_kernels_share_is_relative_to_the_copy_bandwidth() {
        let report = whole_json(&whole(), 1e12);
        let share = report["kernels"][1]["share"].as_f64().unwrap_or(0.0);
        assert!((share - 1.0 / 6.0).abs() < 1e-9, "{report}");
        assert!(
            table(
                &msg!("bench-step", context = 0),
                &whole(),
                &[],
                1e12,
                Language::En
            )
            .contains("0.167")
        );
    }

    #[test]
    fn columns_are_aligned_with_their_numbers_in_both_languages() {
        for (language, sum) in [
            (Language::En, "  sum of runs 40.0 us"),
            (Language::Zh, "  各次之和 40.0 us"),
        ] {
            let text = table(
                &msg!("bench-step", context = 0),
                &whole(),
                &[],
                1e12,
                language,
            );
            let lines: Vec<_> = text.lines().collect();
            assert!(
                lines[1..4]
                    .iter()
                    .all(|line| line.width() == lines[1].width()),
                "{text}"
            );
            assert!(lines[4].starts_with(sum), "{text}");
            assert_eq!(text.contains("kernel"), language == Language::En, "{text}");
        }
    }

    #[test]
    fn the_baseline_is_listed_after_the_sum_and_is_not_a_part_of_it() {
        let baseline = KernelTime {
            kernel: "cuBLAS: qkv_proj, fc_in",
            calls: 34,
            bytes: 2_000_000,
            operations: 5e6,
            seconds: 2e-6,
        };
        let prompt = PromptTimes {
            tokens: 16,
            times: whole(),
            baseline: vec![baseline],
        };
        let title = msg!("bench-prompt", prompt = 16);
        let text = table(&title, &prompt.times, &prompt.baseline, 1e12, Language::En);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[4].starts_with("  sum of runs 40.0 us"), "{text}");
        assert!(lines[5].starts_with("  cuBLAS: qkv_proj, fc_in"), "{text}");
        assert_eq!(lines[5].width(), lines[1].width(), "{text}");
        let report = prompt_json(&prompt, 1e12);
        assert_eq!(report["kernels"].as_array().map(Vec::len), Some(2));
        assert_eq!(report["baseline"][0]["flop"], 5e6);
        assert_eq!(report["tokens"], 16);
    }
}
