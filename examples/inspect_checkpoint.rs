//! Lists the tensors of a checkpoint without loading them.
//!
//! `cargo run --release --example inspect_checkpoint -- PATH`

use std::io::Write;

use moss::Checkpoint;

fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    )
    .to_owned();
    let checkpoint = Checkpoint::open(std::env::args().nth(1).unwrap_or(demo))?;
    let mut out = std::io::stdout();
    writeln!(out, "{:?}", checkpoint.quantization())?;
    for info in checkpoint.tensor_infos() {
        writeln!(
            out,
            "{:<44} {:<5} {:?}",
            info.name,
            info.dtype.to_string(),
            info.shape
        )?;
    }
    for warning in checkpoint.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
