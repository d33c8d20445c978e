//! `bench --kernels`: each kernel of a step and of a prompt by itself, beside the whole.

use std::process::ExitCode;

use moss::model::{DeviceSpec, MossConfig, WeightFormat};
use moss_bench::kernel_timing::{self, KernelTime, KernelTimes, TimingOptions, TimingReport};
use serde_json::{Value, json};

use crate::{
    args::Cli,
    errors::Failed,
    fold::{left, right},
    messages::{Language, Words},
    open,
    printer::Printer,
};

/// Columns behind the kernel's name.
const WIDTHS: [usize; 6] = [6, 14, 12, 9, 9, 8];

/// Times the kernels at the published sizes, with weights that are made up on the card.
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
        let what = (
            "`--kernels` times the kernels of one GPU",
            "`--kernels` 测量一张 GPU 的内核",
        );
        let hint = (
            "name one: `--gpu 0`, in a build with `--features cuda`",
            "请在含 `--features cuda` 的构建中指明一张：`--gpu 0`",
        );
        return Err(Failed::new(what).hint(hint).into());
    };
    let window = MossConfig::moon_003().context_length;
    if let Some(found) = [context, prompt]
        .into_iter()
        .find(|n| !(2..=window).contains(n))
    {
        let what = (
            format!("`--kernels` takes 2 to {window} positions, found {found}"),
            format!("`--kernels` 接受 2 至 {window} 个位置，给出的是 {found}"),
        );
        let hint = (
            "leave `--prompt` out, or take `--prompt 512`",
            "请去掉 `--prompt`，或用 `--prompt 512`",
        );
        return Err(Failed::new(what).hint(hint).into());
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
        (
            "step",
            Words::from((
                format!("one token at context {context}"),
                format!("上下文 {context} 处的一个词元"),
            )),
            &measured.step,
        ),
        (
            "prompt",
            Words::from((
                format!("a prompt of {prompt} tokens"),
                format!("{prompt} 个词元的提示"),
            )),
            &measured.prompt,
        ),
    ];
    if as_json {
        let mut report = json!({
            "card": measured.device, "format": format.to_string(), "layers": layers, "context": context,
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
    printer.report(&printer.language.pick(
        format!("{device}: {format}, {layers} layers; copy {rate:.1} GB/s, measured in this run\n"),
        format!("{device}：{format}，{layers} 层；拷贝 {rate:.1} GB/s，本次实测\n"),
    ))?;
    for (_, title, whole) in parts {
        printer.report(&table(&title, whole, *bandwidth, printer.language))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the kernels by themselves do not explain, as a part of the whole.
fn rest(whole: &KernelTimes) -> f64 {
    1.0 - whole.sum() / whole.seconds
}

fn table(title: &Words, whole: &KernelTimes, bandwidth: f64, language: Language) -> String {
    let (kernel, columns) = language.pick(
        (
            "kernel",
            ["runs", "bytes", "us alone", "GB/s", "TFLOP/s", "share"],
        ),
        (
            "内核",
            ["次数", "字节", "单独 us", "GB/s", "TFLOP/s", "占比"],
        ),
    );
    let (title, colon) = (title.of(language), language.pick(": ", "："));
    let columns: String = columns
        .iter()
        .zip(WIDTHS)
        .map(|(name, width)| right(name, width))
        .collect();
    let mut text = format!(
        "{title}{colon}{:.1} us\n  {}{columns}\n",
        whole.seconds * 1e6,
        left(kernel, 26)
    );
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
    let (sum, rest) = (whole.sum() * 1e6, rest(whole));
    text + &language.pick(
        format!("  sum of runs {sum:.1} us; 1 - sum / whole = {rest:.3}\n"),
        format!("  各次之和 {sum:.1} us；1 - 和 / 整体 = {rest:.3}\n"),
    )
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
        "seconds": whole.seconds, "sum_of_kernels_s": whole.sum(), "unexplained": rest(whole),
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
    fn what_the_kernels_do_not_explain_is_a_part_of_the_whole() {
        assert!((rest(&whole()) - 0.2).abs() < 1e-9);
        let text = table(&Words::same("one token"), &whole(), 1e12, Language::En);
        assert!(
            text.contains("sum of runs 40.0 us; 1 - sum / whole = 0.200"),
            "{text}"
        );
    }

    #[test]
    fn a_kernels_share_is_its_bytes_a_second_of_the_cards_own() {
        let report = whole_json(&whole(), 1e12);
        let share = report["kernels"][1]["share"].as_f64().unwrap_or(0.0);
        assert!((share - 1.0 / 6.0).abs() < 1e-9, "{report}");
        assert!(table(&Words::same("one token"), &whole(), 1e12, Language::En).contains("0.167"));
    }

    #[test]
    fn columns_of_either_language_end_where_their_numbers_do() {
        for (language, sum) in [
            (Language::En, "  sum of runs 40.0 us"),
            (Language::Zh, "  各次之和 40.0 us"),
        ] {
            let text = table(
                &Words::from(("one token", "一个词元")),
                &whole(),
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
}
