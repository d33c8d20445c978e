//! `plan`: which layers would go where, and how fast that could be at best, before anything is
//! loaded.

mod cards;
mod report;
mod subject;

use std::process::ExitCode;

use moss::model::{
    ComputeDtype,
    placement::{Device, DeviceKind, Request, place},
};
use moss_bench::roofline::Prediction;

use moss_messages::msg;

use crate::{
    args::{Cli, PlanArgs},
    errors::CliError,
    open,
    printer::Printer,
};

use report::Report;
use subject::Subject;

pub(crate) fn run(args: &PlanArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    if !args.cards.is_empty() && cli.model.gpu.is_some() {
        let what = msg!("cards-and-gpu");
        return Err(CliError::new(what).into());
    }
    let planned = cards::cards(args, &cli.model)?;
    let cards: Vec<Device> = planned
        .iter()
        .map(|planned| planned.device.clone())
        .collect();
    let any_gpu = cards.iter().any(|card| card.kind != DeviceKind::Cpu);
    let dtype = match any_gpu {
        true => ComputeDtype::F16,
        false => open::dtype(&cli.model, &[]),
    };
    let subject = Subject::find(args, cli, printer, dtype)?;
    let request = Request {
        model: &subject.bytes,
        devices: &cards,
        layers_per_device: cli.model.layers_per_gpu.as_deref(),
        other_formats: &subject.smaller(dtype),
    };
    let placement = place(&request)?;
    let prediction = Prediction::new(
        &placement,
        &planned,
        &subject.config,
        subject.cache.positions(),
        subject.is_packed,
    );
    let report = Report {
        subject: &subject,
        cards: &cards,
        placement: &placement,
        prediction: &prediction,
    };
    match args.json {
        true => printer.json(&report.json())?,
        false => {
            printer.report(&report.text(printer.language, !args.cards.is_empty() && any_gpu))?
        }
    }
    Ok(ExitCode::SUCCESS)
}
