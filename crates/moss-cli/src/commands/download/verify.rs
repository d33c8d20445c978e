//! `download --verify`: the cache's files against their hashes.

use std::path::PathBuf;

use moss::{
    hub::{DownloadEvent, DownloadPlan, Hub, HubError, ModelId, Verification},
    unicode::{Context, escape},
};

use crate::{
    args::Cli,
    errors::Failed,
    messages::{DownloadMessage, Message, Words},
    printer::Printer,
    progress::DownloadProgress,
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
        printer.say(Message::Download(DownloadMessage::Unchecked { path }));
    }
    let is_missing = plan.as_ref().is_some_and(|plan| plan.bytes_missing() > 0);
    if found.damaged.is_empty() && !is_missing {
        let (files, bytes) = (found.files, found.bytes);
        let listed = plan.is_some();
        printer.say(Message::Download(DownloadMessage::Verified {
            files,
            bytes,
            listed,
        }));
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
    printer.say(Message::Download(DownloadMessage::Repairing {
        list: &list(&found),
    }));
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
            let warning = Message::Download(DownloadMessage::NoListing);
            printer.warning_because(&Words::from(warning), &error.into());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Names every damaged file, under `--quiet` too.
fn damaged(id: &ModelId, found: &Verification) -> Failed {
    let list = list(found);
    let id = id.to_string();
    Failed::new(Message::Download(DownloadMessage::Damaged {
        id: &id,
        list: &list,
    }))
    .hint(Message::Download(DownloadMessage::DamagedHint { id: &id }))
    .with_lines()
}

fn list(found: &Verification) -> Words {
    let line = |name: &str, path: &std::path::Path, what: &str| {
        let line = format!("{name}: {what} ({})", path.display());
        format!("\n  {}", escape(&line, Context::Line))
    };
    let lines = |zh: bool| {
        let damaged = found.damaged.iter();
        damaged
            .map(|file| {
                line(
                    &file.name,
                    &file.path,
                    &if zh {
                        file.damage.zh()
                    } else {
                        file.damage.to_string()
                    },
                )
            })
            .collect::<String>()
    };
    Words::from((lines(false), lines(true)))
}
