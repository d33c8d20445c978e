//! `plan`: shows the placement of the layers and an upper bound of the speed, without loading.

mod devices;
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
    if !args.gpus.is_empty() && cli.model.gpu.is_some() {
        let what = msg!("conflicting-gpu-flags");
        return Err(CliError::new(what).into());
    }
    let planned = devices::devices(args, &cli.model)?;
    let devices: Vec<Device> = planned
        .iter()
        .map(|planned| planned.device.clone())
        .collect();
    let any_gpu = devices.iter().any(|device| device.kind != DeviceKind::Cpu);
    let dtype = match any_gpu {
        true => ComputeDtype::F16,
        false => open::dtype(&cli.model, &[]),
    };
    let mut subject = Subject::find(args, cli, printer, dtype)?;
    let layers = cli.model.layers_per_gpu.as_deref();
    let capacity = subject.serve_on(&devices, layers);
    let request = Request {
        model: &subject.bytes,
        devices: &devices,
        layers_per_device: layers,
        other_formats: &subject.smaller(),
    };
    let placement = place(&request)?;
    let prediction = Prediction::new(
        &placement,
        &planned,
        &subject.config,
        subject.options.cache.positions(),
        subject.is_packed,
    );
    let report = Report {
        subject: &subject,
        devices: &devices,
        placement: &placement,
        prediction: &prediction,
        capacity,
    };
    match args.json {
        true => printer.json(&report.json())?,
        false => {
            printer.report(&report.text(printer.language, !args.gpus.is_empty() && any_gpu))?
        }
    }
    Ok(ExitCode::SUCCESS)
}
