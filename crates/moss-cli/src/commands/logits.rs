//! `logits`: the model's raw scores, for comparing with the Python model.

use std::{path::Path, process::ExitCode};

use moss::{
    Checkpoint, Moss, Tokenizer,
    model::{
        BlockPool, BlockTable, LanguageModel, LogitRows, ModelError, MossConfig, SequenceChunk,
    },
};
use safetensors::{Dtype, tensor::TensorView};

use crate::{
    args::{Cli, LogitsArgs},
    errors::OrFail,
    open, output,
    printer::Printer,
    progress, source,
};

pub(crate) fn run(args: &LogitsArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    output::check(&args.out, args.force)?; // before the model is loaded
    let found = source::find_or_fetch(&cli.model, printer)?;
    let checkpoint = open::checkpoint(&found.folder, &cli.model, printer)?;
    check_ids(&args.ids, &found.folder, &checkpoint)?;
    let options = open::load_options(&cli.model, args.ids.len())?;
    let mut model = Moss::load(
        &checkpoint,
        &options,
        &mut progress::bar(printer, &found.name),
    )?;
    let rows = if args.last {
        LogitRows::Last
    } else {
        LogitRows::All
    };
    let logits = open::pool(&cli.model)?.install(|| -> anyhow::Result<_> {
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape()).grow(&mut blocks, args.ids.len())?;
        let chunk = SequenceChunk {
            token_ids: &args.ids,
            start_pos: 0,
            blocks: &blocks,
            logits: rows,
        };
        let mut logits = model.forward(&[chunk], &|| false)?;
        Ok(logits
            .pop()
            .or_fail("the model gave no logits", "模型没有给出 logits")?)
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

/// Refuses ids that are no tokens before the model is loaded. Rows of the embedding that the
/// tokenizer does not reach are untrained.
fn check_ids(ids: &[u32], folder: &Path, checkpoint: &Checkpoint) -> anyhow::Result<()> {
    if Tokenizer::is_present(folder) {
        Tokenizer::from_folder(folder)?.check_ids(ids)?;
    }
    let vocab_size = MossConfig::try_from(checkpoint.config())?.vocab_size;
    match ids.iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(ModelError::UnknownToken { id, vocab_size }.into()),
        None => Ok(()),
    }
}
