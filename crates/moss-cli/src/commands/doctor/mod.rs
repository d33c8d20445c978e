//! `doctor`: what this machine has for the engine, what it could give, and with `--selftest`
//! whether it does.

mod cards;
mod machine;
mod report;
mod selftest;

use std::process::ExitCode;

use moss::{cuda::load_cublas, model::DeviceSpec, weights::KernelError};
use moss_bench::{DeviceReport, roofline::DecodeRoofline};

use crate::{
    args::{Cli, DoctorArgs, ModelArgs},
    open,
    printer::Printer,
};

use cards::Driver;
use machine::{Known, Place, Processor, Terminal};
use selftest::Selftest;

/// Everything that was looked at.
struct Report {
    processor: Processor,
    terminal: Terminal,
    places: Vec<Place>,
    models: Vec<Known>,
    driver: Option<Driver>,
    libraries: Vec<String>,
    /// Why cuBLAS does not load, where there is a card that may need it.
    cublas_missing: Option<String>,
    /// The cards as the kernels see them, or why they see none.
    cards: Result<Vec<DeviceReport>, KernelError>,
    rooflines: Vec<DecodeRoofline>,
    selftest: Option<Selftest>,
}

pub(crate) fn run(args: &DoctorArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let model = &cli.model;
    let cards = devices(model.gpu_code);
    let tested = tested(model, cards.as_deref().unwrap_or_default())?;
    let has_cards = cards.as_ref().is_ok_and(|cards| !cards.is_empty());
    let cublas_missing = has_cards
        .then(|| load_cublas().err())
        .flatten()
        .map(|error| error.to_string());
    let report = Report {
        processor: Processor::measure(model)?,
        terminal: Terminal::read(),
        places: machine::places(model),
        models: machine::models(model),
        driver: cards::driver(),
        cublas_missing,
        libraries: machine::cuda_libraries(),
        cards,
        rooflines: DecodeRoofline::published(),
        selftest: args
            .selftest
            .then(|| Selftest::run(cli, &tested, args.only.as_deref())),
    };
    match args.json {
        true => printer.json(&report.json())?,
        false => printer.report(&report.text(printer.language))?,
    }
    let passed = report
        .selftest
        .as_ref()
        .is_none_or(|selftest| selftest.passed() && !report.lost_cards(cli));
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The GPUs that the kernels run on; none in a build without CUDA.
fn devices(newest_code: Option<u32>) -> Result<Vec<DeviceReport>, KernelError> {
    match moss_bench::devices(newest_code) {
        Err(KernelError::NotCompiled { .. }) => Ok(Vec::new()),
        devices => devices,
    }
}

/// Cards that the self-test runs on: all of them, or those that `--gpu` names.
fn tested(model: &ModelArgs, cards: &[DeviceReport]) -> anyhow::Result<Vec<usize>> {
    if model.gpu.is_none() {
        return Ok(cards.iter().map(|card| card.info.ordinal).collect());
    }
    let ordinal = |device: DeviceSpec| match device {
        DeviceSpec::Cpu => None,
        DeviceSpec::Gpu { ordinal, .. } => Some(ordinal),
    };
    Ok(open::devices(model)?
        .into_iter()
        .filter_map(ordinal)
        .collect())
}

impl Report {
    /// Whether the driver has cards that this build should run on and cannot reach.
    fn lost_cards(&self, cli: &Cli) -> bool {
        let has_cards = self
            .driver
            .as_ref()
            .is_some_and(|driver| !driver.cards.is_empty());
        has_cards && self.cards.is_err() && cli.model.gpu.as_deref() != Some("cpu")
    }
}
