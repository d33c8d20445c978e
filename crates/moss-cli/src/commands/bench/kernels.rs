//! `bench --kernels`: times each kernel of a decode step and of a prompt separately.

use std::process::ExitCode;

use moss::model::{DeviceSpec, MossConfig, WeightFormat};
use moss_bench::kernel_timing::{self, KernelTime, KernelTimes, TimingOptions, TimingReport};
use serde_json::{Value, json};

use moss_messages::{Language, Text, msg};

use crate::{
    args::Cli,
    errors::CliError,
    fold::{left, right},
    open,
    printer::Printer,
};

/// Widths of the columns after the kernel's name.
const WIDTHS: [usize; 6] = [6, 14, 12, 9, 9, 8];

/// Times the kernels at the published sizes, with random weights.
pub(crate) fn run(
    format: WeightFormat,
    (layers, context, prompt): (usize, usize, usize),
    as_json: bool,
    cli: &Cli,
    printer: &Printer,
) -> anyhow::Result<ExitCode> {
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
    if let Some(found) = [context, prompt]
        .into_iter()
        .find(|n| !(2..=window).contains(n))
    {
        let what = msg!("bench-positions", window, found);
        return Err(CliError::new(what).into());
    }
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
            prompt,
        },
    )?;
    let parts = [
        ("step", msg!("bench-step", context), &measured.step),
        ("prompt", msg!("bench-prompt", prompt), &measured.prompt),
    ];
    if as_json {
        let mut report = json!({
            "card": measured.device, // idiom-ok: published field
            "format": format.to_string(), "layers": layers, "context": context,
            "prompt_tokens": prompt, "bandwidth": measured.bandwidth,
        });
        for (key, _, whole) in parts {
            report[key] = whole_json(whole, measured.bandwidth);
        }
        printer.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let TimingReport {
        device, bandwidth, ..
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
    for (_, title, whole) in parts {
        printer.report(&table(&title, whole, *bandwidth, printer.language))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the part of the whole time that the separate kernels do not explain.
fn unexplained(whole: &KernelTimes) -> f64 {
    1.0 - whole.sum() / whole.seconds
}

fn table(title: &Text, whole: &KernelTimes, bandwidth: f64, language: Language) -> String {
    let heads = language.text(&msg!("bench-kernel-columns"));
    let (kernel, columns) = heads.split_once(" | ").unwrap_or_default();
    let title = language.text(&msg!("bench-title", title, us = whole.seconds * 1e6));
    let columns: String = columns
        .split(" | ")
        .zip(WIDTHS)
        .map(|(name, width)| right(name, width))
        .collect();
    let mut text = format!("{title}\n  {}{columns}\n", left(kernel, 26));
    for KernelTime {
        kernel,
        calls,
        bytes,
        operations,
        seconds,
    } in &whole.kernels
    {
        let rate = *bytes as f64 / seconds;
        let arithmetic = match *operations > 0.0 {
            true => format!("{:.1}", operations / seconds / 1e12),
            false => "-".into(),
        };
        text += &format!(
            "  {kernel:<26}{calls:>6}{bytes:>14}{:>12.2}{:>9.1}{arithmetic:>9}{:>8.3}\n",
            seconds * 1e6,
            rate / 1e9,
            rate / bandwidth,
        );
    }
    let (sum, rest) = (whole.sum() * 1e6, unexplained(whole));
    text + &format!("  {}\n", language.text(&msg!("bench-sum", sum, rest)))
}

fn whole_json(whole: &KernelTimes, bandwidth: f64) -> Value {
    let kernel = |time: &KernelTime| {
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
    };
    json!({
        "seconds": whole.seconds, "sum_of_kernels_s": whole.sum(), "unexplained": unexplained(whole),
        "kernels": whole.kernels.iter().map(kernel).collect::<Vec<_>>(),
    })
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
            let text = table(&msg!("bench-step", context = 0), &whole(), 1e12, language);
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
}
