//! `download`: a model into the hub's cache, or the rest of one.

mod verify;

use std::process::ExitCode;

use clap::Args;
use moss::hub::{HubError, ModelId};

use crate::{args::Cli, fetch, printer::Printer};

/// Download a model into the hub's cache, or what is missing of it, and print its folder
///
/// Only the files that the engine needs, over several connections, checked against the hub's
/// hashes. What was interrupted goes on where it stopped. Nothing is asked; what another tool left
/// unfinished is completed. Environment: HF_ENDPOINT (a mirror, such as `https://hf-mirror.com`),
/// MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN (with `--source modelscope`), HF_HOME or HF_HUB_CACHE
/// (where to), HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// ORGANISATION/NAME, or a published model's short name [default: what --model names]
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Hash the files in the cache again, and list those that are damaged
    ///
    /// Checked against the hub's listing; with `--offline`, or if the hub cannot be reached,
    /// against the hashes that the cache records. The exit status is 1 if a file is damaged or
    /// missing; with `--yes` those files are downloaded again.
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(args: &DownloadArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let id = ModelId::parse(args.id.as_ref().unwrap_or(&cli.model.model))?;
    if args.verify {
        let folder = verify::run(&id, cli, printer)?;
        printer.answer(&format!("{}\n", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.model.offline {
        return Err(HubError::Offline { id: id.to_string() }.into());
    }
    let folder = fetch::download(&id, &cli.model, printer, || true)?;
    if let Some(folder) = folder {
        printer.answer(&format!("{}\n", folder.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
