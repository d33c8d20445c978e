//! The flags of a run, and the report with which every measurement of a model begins.

use moss_bench::LoadTimer;

use crate::{
    args::{BenchArgs, Cli},
    open,
    printer::Printer,
};

use super::{
    load::{Loaded, Needed, load},
    report::Report,
};

/// The flags of a run.
pub(super) struct Bench<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) cli: &'a Cli,
    pub(super) printer: &'a Printer,
    pub(super) on_gpu: bool,
}

impl Bench<'_> {
    /// Loads the model and measures the bandwidth. Returns a report without results.
    pub(super) fn load(
        &self,
        needed: Needed,
        pool: &rayon::ThreadPool,
    ) -> anyhow::Result<(Loaded, Report)> {
        let mut loading = LoadTimer::start();
        let loaded = load(self.args, needed, self.cli, self.printer, &mut loading)?;
        loading.finish();
        let report = Report {
            name: loaded.name.clone(),
            threads: pool.current_num_threads(),
            activations: open::activations(&self.cli.model),
            kv_cache: open::kv_cache(&self.cli.model),
            loading,
            upload: None,
            bandwidth: loaded.model.memory_bandwidth()?,
            measured: Vec::new(),
            served: Vec::new(),
            batches: None,
            drafts: Vec::new(),
            reuse: Vec::new(),
            timelines: Vec::new(),
            stages: Vec::new(),
        };
        Ok((loaded, report))
    }
}
