//! `download --verify`: compares the files in the cache with their hashes.

use std::path::PathBuf;

use moss::{
    hub::{DamagedFile, DownloadEvent, DownloadPlan, Hub, HubError, ModelId, Verification},
    unicode::{Context, escape},
};

use moss_messages::{Arg, ToArg, msg};

use crate::{
    args::Cli, errors::CliError, messages::size, printer::Printer, progress::DownloadProgress,
    source,
};

/// Returns the model's folder if all of its files are valid or were downloaded again.
pub(crate) fn run(id: &ModelId, cli: &Cli, printer: &Printer) -> anyhow::Result<PathBuf> {
    let hub = Hub::new(source::settings(&cli.model)?)?;
    let progress = DownloadProgress::new(printer);
    let report = |event: DownloadEvent<'_>| progress.report(event);
    let plan = match cli.model.offline {
        true => None,
        false => listing(&hub, id, &report, printer)?,
    };
    let found = match hub.verify(id, plan.as_ref(), &report) {
        // All files are missing.
        Err(HubError::NotFound { .. }) if cli.model.yes && plan.is_some() => {
            Verification::default()
        }
        found => found?,
    };
    for path in &found.unchecked {
        printer.say(msg!("unchecked", path));
    }
    let is_missing = plan.as_ref().is_some_and(|plan| plan.bytes_missing() > 0);
    if found.damaged.is_empty() && !is_missing {
        let (files, bytes) = (found.files, found.bytes);
        let listed = plan.is_some();
        let bytes = size(bytes);
        printer.say(if listed {
            msg!("verified-by-listing", files, bytes)
        } else {
            msg!("verified-by-cache", files, bytes)
        });
        return Ok(found.folder);
    }
    if !cli.model.yes {
        return Err(damaged(id, &found).into());
    }
    let Some(plan) = plan else {
        let failed = damaged(id, &found);
        return Err(match cli.model.offline {
            true => failed.because(HubError::Offline { id: id.to_string() }),
            false => failed,
        }
        .into());
    };
    printer.say(msg!("repairing", list = list(&found)));
    hub.remove_damaged(id, &found)?;
    let plan = hub.plan(&plan.id, &report)?; // counts the removed files as missing
    progress.start(plan.bytes_done, plan.bytes());
    let folder = hub.download(&plan, &report);
    progress.finish();
    Ok(folder?)
}

/// Returns the hub's listing. If it is not available, prints a warning and returns `None`.
fn listing(
    hub: &Hub,
    id: &ModelId,
    report: &(dyn Fn(DownloadEvent<'_>) + Sync),
    printer: &Printer,
) -> Result<Option<DownloadPlan>, HubError> {
    match hub.plan(id, report) {
        Ok(plan) => Ok(Some(plan)),
        Err(
            error @ (HubError::Transfer { .. }
            | HubError::Listing { .. }
            | HubError::Incomplete { .. }),
        ) => {
            printer.warning_because(&msg!("no-listing"), &error.into());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns an error that names every damaged file.
fn damaged(id: &ModelId, found: &Verification) -> CliError {
    CliError::new(msg!("damaged", id = id.to_string(), list = list(found))).with_lines()
}

/// Returns the damaged files, one per line, with escaped names.
fn list(found: &Verification) -> Arg {
    let line = |file: &DamagedFile| {
        let DamagedFile { name, path, damage } = file;
        let path = path.to_string_lossy();
        let [name, path] = [name.as_str(), &*path].map(|text| escape(text, Context::Line));
        msg!("damaged-file", name, path, damage).to_arg()
    };
    let items = found.damaged.iter().map(line).collect();
    Arg::List { items, lines: true }
}
