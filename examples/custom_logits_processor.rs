//! A custom logits processor, which excludes every token with a digit.
//!
//! `cargo run --release --example custom_logits_processor`

use std::io::Write;

use moss::{Builder, LogitsProcessor, SamplingParams, text::Specials};

struct Forbid {
    ids: Vec<u32>,
}

impl LogitsProcessor for Forbid {
    fn apply(&mut self, logits: &mut [f32], _history: &[u32], _generated: usize) {
        for id in &self.ids {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let engine = Builder::new(demo).engine()?;
    let tokenizer = engine
        .tokenizer()
        .ok_or_else(|| anyhow::anyhow!("the folder has no tokenizer"))?;
    let has_digit = |id: &u32| {
        tokenizer
            .decode(&[*id], Specials::Show)
            .contains(|c: char| c.is_ascii_digit())
    };
    let ids: Vec<u32> = (0..tokenizer.vocab_size() as u32)
        .filter(has_digit)
        .collect();
    let prompt = "<|Human|>: Recommend five sci-fi films<eoh>\n<|MOSS|>:";
    let mut request = engine.completion(prompt, SamplingParams::greedy())?;
    request.stop.max_new_tokens = Some(60);
    request.processors.push(Box::new(Forbid { ids }));
    let text = engine.submit(request)?.wait()?.text;
    anyhow::ensure!(
        !text.contains(|c: char| c.is_ascii_digit()),
        "a digit slipped through: {text}"
    );
    writeln!(std::io::stdout(), "{}", text.trim())?;
    Ok(())
}
