//! `bench --kernels`: each kernel of a step and of a prompt by itself, beside the whole.

use std::process::ExitCode;

use moss::model::{DeviceSpec, MossConfig, WeightFormat};
use serde_json::{Value, json};

use crate::{
    args::Cli,
    errors::Failed,
    gpu::{self, KernelTime, Measured, Timed, Whole},
    open,
    printer::Printer,
};

/// Times the kernels at the published sizes, with weights that are made up on the card.
pub(crate) fn run(
    format: WeightFormat,
    (layers, context, prompt): (usize, usize, usize),
    as_json: bool,
    cli: &Cli,
    printer: &Printer,
) -> anyhow::Result<ExitCode> {
    let devices = open::devices(&cli.model)?;
    let [DeviceSpec::Gpu { ordinal, newest_code }] = devices[..] else {
        let what = ("`--kernels` times the kernels of one GPU", "`--kernels` 测量一张 GPU 的内核");
        let hint = (
            "name one: `--gpu 0`, in a build with `--features cuda`",
            "请在含 `--features cuda` 的构建中指明一张：`--gpu 0`",
        );
        return Err(Failed::new(what).hint(hint).into());
    };
    let window = MossConfig::moon_003().context_length;
    if let Some(found) = [context, prompt].into_iter().find(|n| !(2..=window).contains(n)) {
        let what = (
            format!("`--kernels` takes 2 to {window} positions, found {found}"),
            format!("`--kernels` 接受 2 至 {window} 个位置，给出的是 {found}"),
        );
        let hint = ("leave `--prompt` out, or take `--prompt 512`", "请去掉 `--prompt`，或用 `--prompt 512`");
        return Err(Failed::new(what).hint(hint).into());
    }
    let bits = match format {
        WeightFormat::F16 => None,
        WeightFormat::Gptq(bits) => Some(bits),
    };
    let measured = gpu::times(ordinal, newest_code, Timed { bits, layers, context, prompt })?;
    let parts = [
        ("step", format!("one token at context {context}"), &measured.step),
        ("prompt", format!("a prompt of {prompt} tokens"), &measured.prompt),
    ];
    if as_json {
        let mut report = json!({
            "card": measured.card, "format": format.to_string(), "layers": layers, "context": context,
            "prompt_tokens": prompt, "bandwidth": measured.bandwidth,
        });
        for (key, _, whole) in parts {
            report[key] = whole_json(whole, measured.bandwidth);
        }
        printer.answer(&format!("{report}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Measured { card, bandwidth, .. } = &measured;
    printer.answer(&format!(
        "{card}: {format}, {layers} layers; copy {:.1} GB/s, measured in this run\n",
        bandwidth / 1e9
    ))?;
    for (_, title, whole) in parts {
        printer.answer(&table(&title, whole, *bandwidth))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn sum(whole: &Whole) -> f64 {
    whole.kernels.iter().map(|kernel| kernel.calls as f64 * kernel.seconds).sum()
}

/// What the kernels by themselves do not explain, as a part of the whole.
fn rest(whole: &Whole) -> f64 {
    1.0 - sum(whole) / whole.seconds
}

fn table(title: &str, whole: &Whole, bandwidth: f64) -> String {
    let mut text = format!(
        "{title}: {:.1} us\n  {:<26}{:>6}{:>14}{:>12}{:>9}{:>9}{:>8}\n",
        whole.seconds * 1e6,
        "kernel",
        "runs",
        "bytes",
        "us alone",
        "GB/s",
        "TFLOP/s",
        "share"
    );
    for KernelTime { kernel, calls, bytes, operations, seconds } in &whole.kernels {
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
    text + &format!("  sum of runs {:.1} us; 1 - sum / whole = {:.3}\n", sum(whole) * 1e6, rest(whole))
}

fn whole_json(whole: &Whole, bandwidth: f64) -> Value {
    let kernel = |time: &KernelTime| {
        let KernelTime { kernel, calls, bytes, operations, seconds } = time;
        json!({
            "kernel": kernel, "runs": calls, "bytes": bytes, "flop": operations, "seconds": seconds,
            "bytes_per_s": *bytes as f64 / seconds, "share": *bytes as f64 / seconds / bandwidth,
        })
    };
    json!({
        "seconds": whole.seconds, "sum_of_kernels_s": sum(whole), "unexplained": rest(whole),
        "kernels": whole.kernels.iter().map(kernel).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Whole {
        let kernel = |kernel, calls, bytes, seconds| KernelTime {
            kernel,
            calls,
            bytes,
            operations: bytes as f64 * 4.0,
            seconds,
        };
        Whole {
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
        let text = table("one token", &whole(), 1e12);
        assert!(text.contains("sum of runs 40.0 us; 1 - sum / whole = 0.200"), "{text}");
    }

    #[test]
    fn a_kernels_share_is_its_bytes_a_second_of_the_cards_own() {
        let report = whole_json(&whole(), 1e12);
        let share = report["kernels"][1]["share"].as_f64().unwrap_or(0.0);
        assert!((share - 1.0 / 6.0).abs() < 1e-9, "{report}");
        assert!(table("one token", &whole(), 1e12).contains("0.167"));
    }
}
