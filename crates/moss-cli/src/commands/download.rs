//! `download`: downloads a model, or its missing files, into the hub's cache.

mod verify;

use std::process::ExitCode;

use moss::hub::{HubError, ModelId};

use crate::{
    args::{Cli, DownloadArgs},
    printer::Printer,
    source,
};

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
    let folder = source::download(&id, &cli.model, printer)?;
    printer.answer(&format!("{}\n", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
