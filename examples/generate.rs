//! One prompt and one answer, without a conversation.
//!
//! `cargo run --release --example generate`

use std::io::Write;

use moss::{Builder, SamplingParams};

fn main() -> anyhow::Result<()> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/moss-demo");
    let engine = Builder::new(demo).engine()?;
    let prompt = "<|Human|>: What is the capital of Japan?<eoh>\n<|MOSS|>:";
    let request = engine.completion(prompt, SamplingParams::greedy())?;
    let outcome = engine.submit(request)?.wait()?;
    writeln!(
        std::io::stdout(),
        "{}\n{:?}, {:?}",
        outcome.text.trim(),
        outcome.cause,
        outcome.usage
    )?;
    Ok(())
}
