//! The layers shared out over several devices: who would get what, and an answer from them all.
//!
//! `cargo run --release --example split_over_gpus` takes two halves of the CPU; in a build with
//! `--features cuda`, `cargo run --release --features cuda --example split_over_gpus -- 0,1,2,3`
//! takes cards.

use std::io::Write;

use moss::{
    Checkpoint, LoadOptions, Moss, OpenOptions, Request, SamplingParams, StopRules,
    model::{ComputeDtype, DeviceSpec, MossConfig},
    open_engine,
};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let window = MossConfig::try_from(Checkpoint::open(demo)?.config())?.context_length;
    let load = match std::env::args().nth(1) {
        Some(list) => LoadOptions::gpus(
            &list
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<_>, _>>()?,
            window,
        ),
        None => LoadOptions {
            dtype: ComputeDtype::F32,
            devices: vec![DeviceSpec::Cpu; 2],
            ..LoadOptions::cpu(window)
        },
    };
    let mut out = std::io::stdout();
    for stage in Moss::load(&Checkpoint::open(demo)?, &load, &mut |_| {})?.stages()? {
        writeln!(
            out,
            "{}: layers {:?}, {} bytes a token",
            stage.device, stage.layers, stage.weight_bytes
        )?;
    }
    let engine = open_engine(
        demo,
        OpenOptions {
            load: Some(load),
            ..OpenOptions::default()
        },
    )?;
    let tokenizer = engine
        .tokenizer()
        .ok_or_else(|| anyhow::anyhow!("the folder holds no tokenizer"))?;
    let prompt = tokenizer.encode("<|Human|>: 你好<eoh>\n<|MOSS|>:")?;
    let stop = StopRules {
        stop_ids: vec![tokenizer.special()?.eom],
        ..StopRules::default()
    };
    let outcome = engine
        .submit(Request {
            stop,
            ..Request::new(prompt, SamplingParams::greedy())
        })?
        .wait()?;
    writeln!(out, "{}", outcome.text.trim_start())?;
    Ok(())
}
