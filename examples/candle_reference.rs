//! The candle reference next to the native engine: the same answer, and the time that each takes.
//!
//! `cargo run --release --features candle --example candle_reference` asks the demo model; a path or
//! name of another checkpoint is an argument. The reference is slower, and copies the weights.

use std::{io::Write, time::Instant};

use moss::{Backend, Builder, ChatOptions, Event, SamplingParams};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let model = std::env::args().nth(1).unwrap_or_else(|| demo.to_owned());
    let mut out = std::io::stdout();
    for backend in [Backend::Native, Backend::Candle] {
        let options = ChatOptions {
            sampling: SamplingParams::greedy(),
            ..ChatOptions::default()
        };
        let builder = Builder::new(model.as_str()).backend(backend);
        let mut chat = builder.chat_options(options).chat()?;
        let start = Instant::now();
        for event in chat.ask("What is 3 + 4?")? {
            if let Event::Text { piece, .. } = event {
                write!(out, "{piece}")?;
            }
        }
        writeln!(out, "\n{backend:?}: {:.3} s", start.elapsed().as_secs_f64())?;
    }
    Ok(())
}
