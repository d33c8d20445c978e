//! `convert`: writes the same tensors to another container.

use std::process::ExitCode;

use moss::{quantize::ConvertOptions, quantize::convert};

use moss_messages::msg;

use crate::{
    args::{Cli, ConvertArgs},
    errors::build_failed,
    printer::Printer,
    progress, source,
};

pub(crate) fn run(args: &ConvertArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let found = source::at(&args.source, &cli.model)
        .find()
        .map_err(build_failed)?;
    let options = ConvertOptions {
        container: args.to.into(),
        max_shard_bytes: (args.max_shard_size * 1e9) as u64,
        replace: args.force,
    };
    convert(
        found.folder(),
        &args.target,
        options,
        &|| false,
        &mut progress::conversion(printer),
    )?;
    printer.say(msg!("wrote", folder = args.target));
    Ok(ExitCode::SUCCESS)
}
