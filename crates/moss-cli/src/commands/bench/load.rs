//! Loading of the model that `bench` measures.

use moss::{
    Moss,
    model::{
        CacheShape, LoadOptions, ModelError, MossConfig, RandomWeights, WeightFormat, WeightSource,
        placement::{Change, ModelBytes, PlacementError},
    },
};
use moss_bench::{LoadTimer, batch::MAX_SEQUENCES, concurrency::cache_positions};

use moss_messages::{Text, msg};

use crate::{
    args::{BenchArgs, Cli},
    errors::{CliError, Context, build_failed},
    memory, open,
    printer::Printer,
    progress, source,
};

/// The KV cache that the measurements need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// Prompt and new tokens of the longest sequence.
    pub(super) longest: (usize, usize),
    /// Sequences that run at the same time.
    pub(super) sequences: usize,
    /// Positions of each of these.
    pub(super) positions: usize,
    /// If the memory is too small, load with a cache for fewer sequences.
    pub(super) may_shrink: bool,
}

impl Needed {
    fn cache(&self) -> CacheShape {
        let (prompt, new) = self.longest;
        let concurrent = cache_positions(self.sequences, self.positions);
        CacheShape::for_positions(prompt.saturating_add(new).max(concurrent))
    }

    /// Returns the sequences whose cache fits the memory of the GPUs, if loading failed because
    /// those needed do not, and fewer do. The placement is checked before any weights are read.
    fn fitting_gpus(&self, error: &ModelError) -> Option<usize> {
        let ModelError::Placement(PlacementError::DoesNotFit { changes, .. }) = error else {
            return None;
        };
        let positions = changes.iter().find_map(|change| match change {
            Change::Context { positions } => Some(*positions),
            _ => None,
        })?;
        let fewer = positions / cache_positions(1, self.positions).max(1);
        let shrinks = self.may_shrink && (1..self.sequences).contains(&fewer);
        shrinks.then_some(fewer)
    }
}

/// A loaded model.
pub(super) struct Loaded {
    pub(super) name: Text,
    pub(super) model: Moss,
    /// The sequences for which the cache has room: those needed, or fewer.
    pub(super) sequences: usize,
}

/// Loads the model of the flags, or one with random weights.
pub(super) fn load(
    args: &BenchArgs,
    needed: Needed,
    cli: &Cli,
    printer: &Printer,
    timer: &mut LoadTimer,
) -> anyhow::Result<Loaded> {
    let sequences = needed.sequences.clamp(1, MAX_SEQUENCES);
    let builder = open::builder(source::model(&cli.model), cli, printer)?.max_sequences(sequences);
    let positions = needed.cache().positions();
    let options = builder.load_options(positions).map_err(build_failed)?;
    let fits = |config: &MossConfig| {
        let ((prompt, new), window) = (needed.longest, config.context_length);
        if prompt.saturating_add(new) <= window {
            return Ok(());
        }
        Err(CliError::new(msg!("bench-window", prompt, new, window)))
    };
    if !args.random_weights {
        let mut found = open::find_with(builder, &cli.model, printer)?;
        let checkpoint = found.checkpoint().context(msg!("cannot-open-checkpoint"))?;
        fits(&MossConfig::try_from(checkpoint.config())?)?;
        let name = msg!("plain", value = found.name());
        return Loading {
            source: &checkpoint,
            name,
            options,
            needed,
        }
        .run(printer, timer)
        .context(msg!("cannot-load-model"))
        .map_err(Into::into);
    }
    let format = args.format.format();
    let config = MossConfig {
        num_layers: args.layers,
        ..MossConfig::moon_003()
    };
    fits(&config)?;
    if !open::any_gpu(&options.devices) {
        fit_memory(&config, format, &options)?;
    }
    let layers = config.num_layers;
    let name = msg!("bench-random-weights", format = format.to_string(), layers);
    let loading = Loading {
        source: &RandomWeights::new(config, format),
        name,
        options,
        needed,
    };
    Ok(loading.run(printer, timer)?)
}

/// A model to load.
struct Loading<'a> {
    source: &'a dyn WeightSource,
    name: Text,
    options: LoadOptions,
    needed: Needed,
}

impl Loading<'_> {
    fn run(mut self, printer: &Printer, timer: &mut LoadTimer) -> Result<Loaded, ModelError> {
        let shown = printer.text(&self.name);
        if self.needed.may_shrink {
            self.needed.sequences = self.fitting_host_memory()?;
        }
        loop {
            self.options.cache = self.needed.cache();
            let mut watch = timer.watch(progress::bar(printer, &shown));
            let error = match Moss::load(self.source, &self.options, &mut watch) {
                Ok(model) => {
                    return Ok(Loaded {
                        name: self.name,
                        model,
                        sequences: self.needed.sequences,
                    });
                }
                Err(error) => error,
            };
            match self.needed.fitting_gpus(&error) {
                Some(fewer) => self.needed.sequences = fewer,
                None => return Err(error),
            }
        }
    }

    /// Returns the sequences whose cache fits the host's memory next to the weights: the placement
    /// assumes that the CPU has no limit.
    fn fitting_host_memory(&self) -> Result<usize, ModelError> {
        let sequences = self.needed.sequences;
        let Some(free) = memory::available().filter(|_| !open::any_gpu(&self.options.devices))
        else {
            return Ok(sequences);
        };
        let config = self.source.config()?;
        let bytes = ModelBytes::of(self.source, &config, &self.options);
        let positions = cache_positions(1, self.needed.positions) as u64;
        let sequence = positions * bytes.cache_per_position * bytes.layers.len() as u64;
        let free = free.saturating_sub(weights(&bytes) + bytes.workspace);
        let fitting = free.checked_div(sequence).unwrap_or(u64::MAX);
        Ok(usize::try_from(fitting).map_or(sequences, |fitting| fitting.clamp(1, sequences)))
    }
}

/// Returns the bytes of all weights.
fn weights(bytes: &ModelBytes) -> u64 {
    bytes.embedding + bytes.head + bytes.layers.iter().sum::<u64>()
}

/// Returns an error if the random weights need more memory than is available. They are not backed
/// by a file, so the system would kill this program or another one.
fn fit_memory(
    config: &MossConfig,
    format: WeightFormat,
    options: &LoadOptions,
) -> Result<(), CliError> {
    let bytes = ModelBytes::in_format(config, format, options);
    let layer = bytes.layers.iter().max().copied().unwrap_or(0);
    let needed = weights(&bytes);
    let Some(free) = memory::available().filter(|free| *free < needed) else {
        return Ok(());
    };
    let others = bytes.embedding + bytes.head;
    let [needed, found] = [needed, free].map(|bytes| bytes as f64 / 1e9);
    let fewer = free
        .saturating_sub(others)
        .checked_div(layer)
        .unwrap_or(0)
        .max(1);
    let layers = config.num_layers;
    Err(CliError::new(msg!(
        "bench-memory",
        layers,
        needed,
        found,
        fewer,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Needed = Needed {
        longest: (512, 35),
        sequences: 256,
        positions: 547,
        may_shrink: true,
    };

    /// An error after which a cache of `positions` fits.
    fn full(positions: usize) -> ModelError {
        ModelError::Placement(PlacementError::DoesNotFit {
            shortfalls: Vec::new(),
            changes: vec![
                Change::Cpu {
                    layers: 1,
                    bytes: 1,
                },
                Change::Context { positions },
            ],
        })
    }

    #[test]
    fn the_cache_holds_whole_blocks_of_every_sequence() {
        assert_eq!(NEEDED.cache().positions(), 256 * 560);
        let one = Needed {
            sequences: 0,
            ..NEEDED
        };
        assert_eq!(one.cache().positions(), 560);
    }

    #[test]
    fn as_many_sequences_are_kept_as_fit_the_gpus() {
        assert_eq!(NEEDED.fitting_gpus(&full(560 * 96 + 559)), Some(96));
        assert_eq!(NEEDED.fitting_gpus(&full(560)), Some(1));
    }

    #[test]
    fn an_error_remains_if_not_one_sequence_fits_or_all_are_required() {
        assert_eq!(NEEDED.fitting_gpus(&full(559)), None);
        let all = Needed {
            may_shrink: false,
            ..NEEDED
        };
        assert_eq!(all.fitting_gpus(&full(560 * 96)), None);
        // Loading again with the same cache would fail again.
        assert_eq!(NEEDED.fitting_gpus(&full(560 * 256)), None);
    }
}
