//! One prompt, one answer, without a conversation around it.
//!
//! `cargo run --release --example generate`

use std::io::Write;

use moss::{Request, SamplingParams, StopRules, open_engine};

fn main() -> anyhow::Result<()> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/moss-demo");
    let engine = open_engine(demo, Default::default())?;
    let tokenizer = engine
        .tokenizer()
        .ok_or_else(|| anyhow::anyhow!("the folder holds no tokenizer"))?;
    let prompt = tokenizer.encode("<|Human|>: What is the capital of Japan?<eoh>\n<|MOSS|>:")?;
    let stop = StopRules {
        stop_ids: vec![tokenizer.special()?.eom],
        ..StopRules::default()
    };
    let request = Request {
        stop,
        ..Request::new(prompt, SamplingParams::greedy())
    };
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
