//! `download --verify`: the cache's files against their hashes.

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

/// Returns the model's folder if all of its files are right, or were brought again.
pub(crate) fn run(id: &ModelId, cli: &Cli, printer: &Printer) -> anyhow::Result<PathBuf> {
    let hub = Hub::new(source::settings(&cli.model)?)?;
    let progress = DownloadProgress::new(printer);
    let report = |event: DownloadEvent<'_>| progress.report(event);
    let plan = match cli.model.offline {
        true => None,
        false => listing(&hub, id, &report, printer)?,
    };
    let found = match hub.verify(id, plan.as_ref(), &report) {
        // Nothing is there: all of it is what has to be brought.
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
    let plan = hub.plan(&plan.id, &report)?; // how much is missing now
    progress.start(plan.bytes_done, plan.bytes());
    let folder = hub.download(&plan, &report);
    progress.finish();
    Ok(folder?)
}

/// The hub's listing; nothing if the hub does not give one, after a warning.
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

/// Names every damaged file, under `--quiet` too.
fn damaged(id: &ModelId, found: &Verification) -> CliError {
    CliError::new(msg!("damaged", id = id.to_string(), list = list(found))).with_lines()
}

/// The damaged files, a line each. What the lines quote is escaped.
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
