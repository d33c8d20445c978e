//! The plugins of the flags, and the run of a model's calls.

use std::path::{Path, PathBuf};

use moss::{
    plugins::{
        Calculate, Cancellation, CommandPlugin, Endpoint, Image, Plugins, Program, Results,
        SearXng, Search, SearchBackend, Solve, Source, Text2Image,
    },
    text::Plugin,
};
use moss_messages::msg;

use crate::{args::PluginArgs, errors::CliError, interrupt::Interrupts, output, printer::Printer};

/// The most times that a reply calls plugins. A trained model does so once.
pub(crate) const MAX_ROUNDS: usize = 4;
/// The most pictures in a folder.
const MAX_IMAGES: usize = 10_000;

/// Runs the calls of a model.
pub(crate) struct Calls {
    /// `None` if the user enters the results.
    plugins: Option<Plugins>,
    images: Option<PathBuf>,
}

impl Calls {
    /// Creates the plugins that the flags enable.
    ///
    /// # Errors
    /// [`CliError`] for a plugin that is enabled and not configured.
    pub(crate) fn new(args: &PluginArgs) -> anyhow::Result<Self> {
        Ok(Self {
            plugins: enabled(args)?,
            images: args.images.clone(),
        })
    }

    /// Runs calls, and shows their results and faults. Returns `None` if the user enters the
    /// results, or has stopped the calls.
    pub(crate) fn run(
        &self,
        commands: &str,
        printer: &Printer,
        interrupts: &Interrupts,
    ) -> anyhow::Result<Option<Results>> {
        let Some(plugins) = &self.plugins else {
            return Ok(None);
        };
        let cancellation = Cancellation::default();
        let guard = interrupts.stop_with(cancellation.clone());
        let results = plugins.run(commands, &cancellation);
        drop(guard);
        if cancellation.is_cancelled() {
            printer.say(msg!("calls-stopped"));
            return Ok(None);
        }
        let label = printer.text(&msg!("results"));
        printer.aside(&format!("{label}\n{}\n", results.text));
        show_faults(&results, printer);
        for image in results.images() {
            // The results are not lost with the picture.
            if let Err(error) = self.save(image, printer) {
                printer.warning_because(&msg!("image-save-failed"), &error);
            }
        }
        Ok(Some(results))
    }

    fn save(&self, image: &Image, printer: &Printer) -> anyhow::Result<()> {
        let Some(folder) = &self.images else {
            printer.say(msg!("image-not-saved"));
            return Ok(());
        };
        let written = std::fs::create_dir_all(folder);
        let shown = folder.display();
        written
            .map_err(|error| CliError::new(msg!("cannot-write", file = shown)).because(error))?;
        let file = free_name(folder, image)?;
        output::write(&file, &image.bytes, false)?;
        let file = file.display();
        printer.say(msg!("image-saved", file));
        Ok(())
    }
}

/// Shows why calls have no result.
pub(crate) fn show_faults(results: &Results, printer: &Printer) {
    for report in &results.calls {
        if let Err(error) = &report.outcome {
            let call = &report.call.text;
            printer.warning(&msg!("call-failed", call, reason = error));
            if let Some(hint) = moss_messages::hint(printer.language, error) {
                printer.note(&hint);
            }
        }
    }
}

/// Lists the sources with these numbers.
pub(crate) fn show_sources(sources: &[Source], numbers: &[usize], printer: &Printer) {
    let cited = sources
        .iter()
        .filter(|source| numbers.contains(&source.number));
    for Source { number, passage } in cited {
        let start: String = passage.text.chars().take(60).collect();
        let title = if passage.title.is_empty() {
            &start
        } else {
            &passage.title
        };
        let line = format!("[{number}] {title} {}", passage.url);
        printer.note(line.trim_end());
    }
}

/// Returns the first name that no file has.
fn free_name(folder: &Path, image: &Image) -> Result<PathBuf, CliError> {
    let name = |number| folder.join(format!("moss-{number:04}.{}", image.kind.extension()));
    let free = (1..=MAX_IMAGES)
        .map(name)
        .find(|path| path.symlink_metadata().is_err());
    let shown = folder.display();
    free.ok_or_else(|| CliError::new(msg!("too-many-images", folder = shown)))
}

/// Returns the plugins that are enabled; `None` if there are none, or if their results are entered
/// by hand.
pub(crate) fn enabled(args: &PluginArgs) -> anyhow::Result<Option<Plugins>> {
    let mut plugins = Plugins::default();
    plugins.set_timeout(args.plugin_time);
    let own = own(args)?;
    let named = args.plugins.iter().map(|name| name.parse());
    let named = named.collect::<Result<Vec<Plugin>, _>>()?;
    // In the order of the training data, which is that of the results.
    let enabled = Plugin::ALL
        .into_iter()
        .filter(|plugin| named.contains(plugin));
    for plugin in enabled {
        if !args.plugins_by_hand && plugin.api().is_some() && !add(plugin, args, &mut plugins)? {
            let hint = match plugin {
                Plugin::WebSearch => msg!("search-not-configured"),
                _ => msg!("image-not-configured"),
            };
            return Err(CliError::new(hint).into());
        }
    }
    for plugin in own {
        plugins.add(plugin);
    }
    Ok(Some(plugins).filter(|plugins| !args.plugins_by_hand && !plugins.is_empty()))
}

/// Returns all plugins that can run, enabled or not.
pub(crate) fn configured(args: &PluginArgs) -> anyhow::Result<Plugins> {
    let mut plugins = Plugins::default();
    plugins.set_timeout(args.plugin_time);
    for plugin in Plugin::ALL {
        add(plugin, args, &mut plugins)?;
    }
    for plugin in own(args)? {
        plugins.add(plugin);
    }
    Ok(plugins)
}

/// Adds a plugin of the published models. Returns false if it is not configured.
fn add(plugin: Plugin, args: &PluginArgs, plugins: &mut Plugins) -> anyhow::Result<bool> {
    match plugin {
        Plugin::Calculator => plugins.add(Calculate),
        Plugin::EquationSolver => plugins.add(Solve),
        Plugin::WebSearch => match search(args)? {
            Some(backend) => plugins.add(Search::new(backend)),
            None => return Ok(false),
        },
        Plugin::TextToImage => match &args.image_url {
            Some(url) => {
                let endpoint = Endpoint::new(url)?.with_key(args.image_key.clone());
                plugins.add(Text2Image::new(endpoint).with_model(args.image_model.clone()));
            }
            None => return Ok(false),
        },
        Plugin::ImageEdition | Plugin::TextToSpeech => return Ok(false),
    }
    Ok(true)
}

fn search(args: &PluginArgs) -> anyhow::Result<Option<SearchBackend>> {
    Ok(match (&args.search_url, &args.search_command) {
        (Some(url), _) => Some(SearchBackend::SearXng(SearXng::new(Endpoint::new(url)?))),
        (None, Some(command)) => Some(SearchBackend::Program(Program::new(command))),
        (None, None) => None,
    })
}

/// Returns the plugins of `--plugin-command`.
fn own(args: &PluginArgs) -> Result<Vec<CommandPlugin>, CliError> {
    let plugin = |text: &String| {
        let parts = text.split_once('=');
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let parts = parts.filter(|(name, command)| is_name(name) && !command.trim().is_empty());
        let (name, command) =
            parts.ok_or_else(|| CliError::new(msg!("plugin-command-form", found = text)))?;
        Ok(CommandPlugin::new(name, Program::new(command)))
    };
    args.plugin_command.iter().map(plugin).collect()
}
