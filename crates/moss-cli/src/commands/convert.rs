//! `convert`: the same tensors in another container.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use moss::quantize::{Container, ConvertOptions, convert};

use crate::{
    args::{Cli, above_zero},
    messages::Message,
    open,
    printer::Printer,
    progress,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContainerArg {
    /// PyTorch files, as published
    Bin,
    Safetensors,
}

impl From<ContainerArg> for Container {
    fn from(arg: ContainerArg) -> Self {
        match arg {
            ContainerArg::Bin => Self::Torch,
            ContainerArg::Safetensors => Self::Safetensors,
        }
    }
}

/// Write a checkpoint into another container, bit for bit
///
/// Memory does not grow with the files. Every shard is read back and checked; a run that was cut
/// off goes on where it was, given the same command. DST appears when it is whole.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: a folder, a hub id or a short name
    #[arg(id = "src", value_name = "SRC")]
    source: PathBuf,
    /// The folder to write
    #[arg(value_name = "DST")]
    target: PathBuf,
    /// The container to write
    #[arg(long, value_name = "CONTAINER")]
    to: ContainerArg,
    /// Largest file in GB (10^9 bytes); a larger tensor has a file of its own
    #[arg(long, value_name = "GB", default_value_t = 5.0, value_parser = above_zero)]
    max_shard_size: f64,
    /// Replace a checkpoint that is in DST already
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &ConvertArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let source = open::folder(&args.source, &cli.model)?;
    let options = ConvertOptions {
        container: args.to.into(),
        max_shard_bytes: (args.max_shard_size * 1e9) as u64,
        replace: args.force,
    };
    convert(
        &source,
        &args.target,
        options,
        &|| false,
        &mut progress::conversion(printer),
    )?;
    printer.say(Message::Wrote {
        folder: &args.target.display().to_string(),
    });
    Ok(ExitCode::SUCCESS)
}
