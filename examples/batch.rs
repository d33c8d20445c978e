//! Answers several messages at the same time with continuous batching. Each answer is the same as
//! it would be alone.
//!
//! `cargo run --release --example batch`

use std::io::Write;

use moss::{Builder, ChatOptions, SamplingParams};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let options = ChatOptions {
        sampling: SamplingParams::greedy(),
        max_new_tokens: Some(200),
        ..ChatOptions::default()
    };
    let mut batch = Builder::new(demo).chat_options(options).batch()?;
    let questions = [
        "Hi there",
        "What is 7 + 8?",
        "法国的首都是哪里？",
        "讲个笑话",
    ];
    for (question, answer) in questions.iter().zip(batch.ask_all(&questions)) {
        writeln!(std::io::stdout(), "> {question}\n{}", answer?.text.trim())?;
    }
    Ok(())
}
