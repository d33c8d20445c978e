//! A conversation of two turns. The second turn prefills only its new tokens.
//!
//! `cargo run --release --example chat` uses the demo model; pass a path or a hub id for
//! another one.

use std::io::Write;

use moss::{Builder, Event};

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    )
    .to_owned();
    let mut chat = Builder::new(std::env::args().nth(1).unwrap_or(demo)).chat()?;
    let mut out = std::io::stdout();
    for message in ["你好", "推荐五部科幻电影"] {
        writeln!(out, "> {message}")?;
        for event in chat.ask(message)? {
            match event {
                Event::Text { piece, .. } => write!(out, "{piece}").and_then(|()| out.flush())?,
                Event::Finished(outcome) => {
                    writeln!(
                        out,
                        "\n[{} of {} prompt tokens run]",
                        outcome.usage.prefilled_tokens, outcome.usage.prompt_tokens
                    )?;
                }
                Event::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}
