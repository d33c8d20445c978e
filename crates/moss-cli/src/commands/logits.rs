//! `logits`: writes logits, for comparison with the Python model.

use std::process::ExitCode;

use moss::{
    Found, Tokenizer,
    model::{BlockPool, BlockTable, LogitRows, ModelError, SequenceChunk, TokenKind},
};
use safetensors::{Dtype, tensor::TensorView};

use moss_messages::msg;

use crate::{
    args::{Cli, LogitsArgs},
    errors::Context,
    errors::build_failed,
    open, output,
    printer::Printer,
};

pub(crate) fn run(args: &LogitsArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    output::check(&args.out, args.force)?; // before the model is loaded
    let mut found = open::find(cli, printer)?;
    check_ids(&args.ids, &found)?;
    let mut model = found.language_model(args.ids.len()).map_err(build_failed)?;
    let rows = if args.last {
        LogitRows::Last
    } else {
        LogitRows::All
    };
    let logits = found
        .pool()
        .map_err(build_failed)?
        .install(|| -> anyhow::Result<_> {
            let mut blocks = BlockTable::default();
            BlockPool::new(model.cache_shape()).grow(&mut blocks, args.ids.len())?;
            let chunk = SequenceChunk {
                token_ids: &args.ids,
                kind: TokenKind::Prompt,
                start_pos: 0,
                blocks: &blocks,
                logits: rows,
            };
            let mut logits = model.forward(&[chunk], &|| false)?;
            Ok(logits.pop().context(msg!("no-logits"))?)
        })?;
    let bytes: Vec<u8> = logits
        .values()
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![logits.rows(), logits.vocab_size()], &bytes)?;
    let file = safetensors::serialize([("logits", view)], None)?;
    let out = args.out.display();
    output::write(&args.out, &file, args.force)?;
    printer.note(&format!(
        "{out}: logits [{}, {}]",
        logits.rows(),
        logits.vocab_size()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Rejects unknown token ids before the model is loaded. Embedding rows beyond the tokenizer's
/// tokens are untrained.
fn check_ids(ids: &[u32], found: &Found) -> anyhow::Result<()> {
    if Tokenizer::is_present(found.folder()) {
        found.tokenizer().map_err(build_failed)?.check_ids(ids)?;
    }
    let vocab_size = found.config().map_err(build_failed)?.vocab_size;
    match ids.iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(ModelError::UnknownToken { id, vocab_size }.into()),
        None => Ok(()),
    }
}
