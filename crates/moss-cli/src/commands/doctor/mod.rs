//! `doctor`: reports the machine and the speed to expect. `--selftest` checks the results of its
//! devices.

mod machine;
mod nvml;
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

use machine::{Known, Place, Processor, Terminal};
use nvml::Driver;
use selftest::Selftest;

/// All findings.
struct Report {
    processor: Processor,
    terminal: Terminal,
    places: Vec<Place>,
    models: Vec<Known>,
    driver: Option<Driver>,
    libraries: Vec<String>,
    /// Why cuBLAS cannot be loaded, if there is a GPU.
    cublas_missing: Option<String>,
    /// The GPUs that the kernels can use, or the error.
    gpus: Result<Vec<DeviceReport>, KernelError>,
    rooflines: Vec<DecodeRoofline>,
    selftest: Option<Selftest>,
}

pub(crate) fn run(args: &DoctorArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let model = &cli.model;
    let gpus = devices(model.gpu_code);
    let tested = tested(model, gpus.as_deref().unwrap_or_default())?;
    let has_gpus = gpus.as_ref().is_ok_and(|gpus| !gpus.is_empty());
    let cublas_missing = has_gpus
        .then(|| load_cublas().err())
        .flatten()
        .map(|error| error.to_string());
    let report = Report {
        processor: Processor::measure(model)?,
        terminal: Terminal::read(),
        places: machine::places(model),
        models: machine::models(model),
        driver: nvml::driver(),
        cublas_missing,
        libraries: machine::cuda_libraries(),
        gpus,
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
        .is_none_or(|selftest| selftest.passed() && !report.has_unreachable_gpus(cli));
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the GPUs that the kernels can use, none in a build without CUDA.
fn devices(newest_code: Option<u32>) -> Result<Vec<DeviceReport>, KernelError> {
    match moss_bench::devices(newest_code) {
        Err(KernelError::NotCompiled { .. }) => Ok(Vec::new()),
        devices => devices,
    }
}

/// Returns the GPUs of the self-test: all, or those of `--gpu`.
fn tested(model: &ModelArgs, gpus: &[DeviceReport]) -> anyhow::Result<Vec<usize>> {
    if model.gpu.is_none() {
        return Ok(gpus.iter().map(|gpu| gpu.info.ordinal).collect());
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
    /// Returns true if the driver lists GPUs that this build should use but cannot open.
    fn has_unreachable_gpus(&self, cli: &Cli) -> bool {
        let has_gpus = self
            .driver
            .as_ref()
            .is_some_and(|driver| !driver.gpus.is_empty());
        has_gpus && self.gpus.is_err() && cli.model.gpu.as_deref() != Some("cpu")
    }
}
