//! Every event of a request as it comes: ids, and the whole characters that they complete.
//!
//! `cargo run --release --example stream_tokens`

use std::io::Write;

use moss::{Event, Request, SamplingParams, StopRules, open_engine};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let engine = open_engine(demo, Default::default())?;
    let tokenizer = engine
        .tokenizer()
        .ok_or_else(|| anyhow::anyhow!("the folder holds no tokenizer"))?;
    let prompt = tokenizer.encode("<|Human|>: 你是谁<eoh>\n<|MOSS|>:")?;
    let stop = StopRules {
        stop_ids: vec![tokenizer.special()?.eom],
        ..StopRules::default()
    };
    let run = engine.submit(Request {
        stop,
        ..Request::new(prompt, SamplingParams::CHAT)
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "seed {}", run.seed())?;
    for event in run {
        match event {
            Event::Text {
                id: Some(id),
                piece,
                ..
            } => writeln!(out, "{id:>6} {piece:?}")?,
            Event::Failed(error) => return Err(error.into()),
            event => writeln!(out, "{event:?}")?,
        }
    }
    Ok(())
}
