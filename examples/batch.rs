//! Several prompts at once: they share each pass over the weights, and each gets what it would get
//! alone.
//!
//! `cargo run --release --example batch`

use std::io::Write;

use moss::{Request, SamplingParams, StopRules, open_engine};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let engine = open_engine(demo, Default::default())?;
    let tokenizer = engine
        .tokenizer()
        .ok_or_else(|| anyhow::anyhow!("the folder holds no tokenizer"))?;
    let questions = [
        "Hi there",
        "What is 7 + 8?",
        "法国的首都是哪里？",
        "讲个笑话",
    ];
    let stop = StopRules {
        stop_ids: vec![tokenizer.special()?.eom],
        max_new_tokens: Some(200),
        ..StopRules::default()
    };
    let submit = |question: &&str| -> anyhow::Result<_> {
        let prompt = tokenizer.encode(&format!("<|Human|>: {question}<eoh>\n<|MOSS|>:"))?;
        Ok(engine.submit(Request {
            stop: stop.clone(),
            ..Request::new(prompt, SamplingParams::greedy())
        })?)
    };
    let runs = questions
        .iter()
        .map(submit)
        .collect::<anyhow::Result<Vec<_>>>()?;
    for (question, run) in questions.iter().zip(runs) {
        writeln!(
            std::io::stdout(),
            "> {question}\n{}",
            run.wait()?.text.trim()
        )?;
    }
    Ok(())
}
