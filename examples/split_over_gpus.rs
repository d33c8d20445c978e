//! Pipeline parallelism: prints the layers of each device and an answer.
//!
//! `cargo run --release --example split_over_gpus` takes two halves of the CPU; in a build with
//! `--features cuda`, `cargo run --release --features cuda --example split_over_gpus -- 0,1,2,3`
//! takes GPUs.

use std::io::Write;

use moss::{Builder, SamplingParams, model::DeviceSpec};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let devices = match std::env::args().nth(1) {
        Some(list) => DeviceSpec::parse_list(&list, None)
            .ok_or_else(|| anyhow::anyhow!("expected a list such as 0,1,2,3"))?,
        None => vec![DeviceSpec::Cpu; 2],
    };
    let builder = || Builder::new(demo).devices(devices.clone());
    let mut out = std::io::stdout();
    for stage in builder().model()?.stages()? {
        writeln!(
            out,
            "{}: layers {:?}, {} bytes a token",
            stage.device, stage.layers, stage.weight_bytes
        )?;
    }
    let engine = builder().engine()?;
    let request = engine.completion("<|Human|>: 你好<eoh>\n<|MOSS|>:", SamplingParams::greedy())?;
    let outcome = engine.submit(request)?.wait()?;
    writeln!(out, "{}", outcome.text.trim_start())?;
    Ok(())
}
