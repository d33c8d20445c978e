//! `plugins`: lists, tests and explains plugins.

use std::process::ExitCode;

use moss::{
    plugins::{Cancellation, Plugins},
    text::Plugin,
    unicode::{Context, escape},
};
use moss_messages::msg;

use crate::{
    args::{Cli, PluginsArgs, PluginsTask},
    plugins::{configured, show_faults},
    printer::Printer,
};

/// A call of each plugin, by name.
const EXAMPLES: [(&str, &str); 4] = [
    ("Search", "Search(\"MOSS 复旦大学\")"),
    ("Calculate", "Calculate(\"(17+4)/2\")"),
    ("Solve", "Solve(\"2x+3=16\")"),
    ("Text2Image", "Text2Image(\"a lighthouse at night\")"),
];

pub(crate) fn run(args: &PluginsArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let plugins = configured(&cli.plugins)?;
    match args.task {
        PluginsTask::List => list(&plugins, printer)?,
        PluginsTask::Test => return test(args.text.as_deref(), &plugins, printer),
        PluginsTask::Explain => {
            let text = printer.text(&msg!("plugins-explained"));
            printer.report(&format!("{text}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(plugins: &Plugins, printer: &Printer) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut known = Vec::new();
    for plugin in Plugin::ALL {
        let (name, api) = (plugin.name(), plugin.api());
        let function = plugin.function().unwrap_or_default();
        known.push(function);
        let is_ready = plugins.iter().any(|plugin| plugin.name() == function);
        let state = match plugin {
            _ if is_ready => msg!("plugin-ready"),
            Plugin::WebSearch => msg!("plugin-needs-search"),
            Plugin::TextToImage => msg!("plugin-needs-image"),
            _ => msg!("plugin-without-api"),
        };
        let (api, state) = (api.unwrap_or("-"), printer.text(&state));
        lines.push(format!("{name:<16} {api:<24} {state}\n"));
    }
    for plugin in plugins
        .iter()
        .filter(|plugin| !known.contains(&plugin.name()))
    {
        let name = escape(plugin.name(), Context::Line);
        let state = printer.text(&msg!("plugin-own"));
        let api = format!("{name}(…)");
        lines.push(format!("{:<16} {api:<24} {state}\n", "-"));
    }
    printer.report(&lines.concat())?;
    Ok(())
}

/// Runs calls, those of the user or one of each plugin.
fn test(calls: Option<&str>, plugins: &Plugins, printer: &Printer) -> anyhow::Result<ExitCode> {
    let can_run = |name: &str| plugins.iter().any(|plugin| plugin.name() == name);
    let examples = EXAMPLES.into_iter().filter(|(name, _)| can_run(name));
    let examples: Vec<_> = examples.map(|(_, call)| call).collect();
    let calls = calls.map_or_else(|| examples.join(", "), str::to_owned);
    let results = plugins.run(&calls, &Cancellation::default());
    printer.report(&format!("{}\n", results.text))?;
    show_faults(&results, printer);
    let has_failed = results.calls.iter().any(|report| report.outcome.is_err());
    Ok(if has_failed || results.calls.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
