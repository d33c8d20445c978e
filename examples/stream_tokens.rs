//! Prints every event of a request: ids, and the complete characters that they form.
//!
//! `cargo run --release --example stream_tokens`

use std::io::Write;

use moss::{Builder, Event, SamplingParams};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let engine = Builder::new(demo).engine()?;
    let request = engine.completion("<|Human|>: 你是谁<eoh>\n<|MOSS|>:", SamplingParams::CHAT)?;
    let run = engine.submit(request)?;
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
