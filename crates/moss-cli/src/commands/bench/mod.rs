//! `bench`: measures the speed of a model, compared with the memory bandwidth.

mod batch;
mod clients;
mod contexts;
mod draft_times;
mod drafts;
mod kernels;
mod load;
mod report;
mod reuse;
mod reuse_times;
mod setup;
mod steps;
mod timeline;

use std::process::ExitCode;

use crate::{
    args::{BenchArgs, Cli},
    open,
    printer::Printer,
};

use setup::Bench;

pub(crate) fn run(args: &BenchArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    if args.kernels {
        return kernels::run(args, cli, printer);
    }
    let bench = Bench {
        args,
        cli,
        printer,
        on_gpu: open::any_gpu(&open::devices(&cli.model)?),
    };
    let pool = open::pool(&cli.model)?;
    let report = pool.install(|| {
        if args.drafts {
            drafts::measure(&bench, &pool)
        } else if args.reuse {
            reuse::measure(&bench, &pool)
        } else if args.batch.is_empty() {
            contexts::measure(&bench, &pool)
        } else {
            steps::measure(&bench, &pool)
        }
    })?;
    match args.json {
        true => printer.json(&report.json())?,
        false => printer.report(&report.text(printer.language))?,
    }
    Ok(ExitCode::SUCCESS)
}
