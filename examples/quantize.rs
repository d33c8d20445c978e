//! Quantizes a checkpoint to 4 bits and measures the effect.
//!
//! `cargo run --release --example quantize -- [FP16_FOLDER [NEW_FOLDER [CALIBRATION_TEXT]]]`
//! quantizes the demo model into a temporary folder by default.

use std::{io::Write, path::PathBuf, time::Instant};

use moss::{
    Builder, Moss,
    checkpoint::WeightStorage,
    model::LanguageModel,
    quantize::{
        Container, DeviceSpec, Method, QuantizeEvent, QuantizeOptions, Windows, agreement,
        built_in_samples, quantize, read_samples,
    },
    weights::GptqBits,
};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/moss-demo");
    let source = args.next().unwrap_or(demo.into());
    let temporary = tempfile::tempdir()?;
    let target = args.next().unwrap_or(temporary.path().join("int4"));

    let prompts = Builder::new(source.display().to_string())
        .find()?
        .prompts()?;
    let samples = match args.next() {
        Some(file) => read_samples(&file, &prompts)?,
        None => built_in_samples(&prompts)?,
    };
    let options = QuantizeOptions {
        bits: GptqBits::Four,
        group_size: Some(128),
        method: Method::Gptq {
            samples: samples.clone(),
            act_order: false,
            dampening: 0.01,
        },
        device: DeviceSpec::Cpu,
        container: Container::Torch,
        max_shard_bytes: u64::MAX,
        storage: WeightStorage::Mapped,
        replace: false,
    };
    let (mut out, begun) = (std::io::stdout(), Instant::now());
    let reports = quantize(&source, &target, &options, &|| false, &mut |event| {
        if let QuantizeEvent::Linear(report) = event {
            let seconds = begun.elapsed().as_secs_f32();
            let _ = writeln!(
                out,
                "{seconds:7.1} s  {}  {:.2e}",
                report.linear, report.weight_error
            );
        }
    })?;
    writeln!(
        out,
        "{} linear layers in {}",
        reports.len(),
        target.display()
    )?;

    let load = |folder: PathBuf| -> anyhow::Result<Moss> {
        let model = Builder::new(folder.display().to_string());
        Ok(model.devices(vec![DeviceSpec::Cpu]).model()?)
    };
    let (mut before, mut after) = (load(source)?, load(target)?);
    let windows = Windows::of(before.config().context_length);
    let found = agreement(&mut before, &mut after, &samples, windows, &|| false)?;
    writeln!(
        out,
        "KL {:.2e} nats per token, same top token {:.2} %",
        found.mean_kl,
        100.0 * found.top_1
    )?;
    Ok(())
}
