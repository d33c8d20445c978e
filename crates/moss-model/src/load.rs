//! From a source of weights to stages in place: who gets which layers, and all of them at the same
//! time.

use std::{ops::Range, sync::mpsc, thread};

use moss_weights::GptqBits;

use crate::{
    DeviceSpec, LoadEvent, LoadOptions, MemoryPlan, ModelError, MossConfig, WeightFormat,
    WeightSource,
    cpu::CpuStage,
    gpu::{GpuStage, OpenGpu},
    pipeline::Stage,
    placement::{Card, CardKind, ModelBytes, Request, place},
};

/// What a card is to load, and from where.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) struct Wanted<'a> {
    pub(crate) source: &'a dyn WeightSource,
    pub(crate) config: &'a MossConfig,
    pub(crate) options: &'a LoadOptions,
    pub(crate) layers: Range<usize>,
    pub(crate) memory: MemoryPlan,
    pub(crate) embedding_on_host: bool,
    /// That may read at the same time.
    pub(crate) threads: usize,
}

/// A stage that is planned, its card open, and nothing on it.
struct Site {
    device: DeviceSpec,
    layers: Range<usize>,
    /// The open card, what will be on it, and whether the embedding stays in host memory.
    gpu: Option<(OpenGpu, MemoryPlan, bool)>,
}

/// Loads every stage that `options` ask for, on a thread of its own where there are several.
pub(crate) fn stages(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<(DeviceSpec, Stage)>, ModelError> {
    let mut sites = sites(source, config, options, progress)?;
    let threads = rayon::current_num_threads(); // the caller's: stages load on threads of their own
    let load = |site: Site, progress: &mut dyn FnMut(LoadEvent)| -> Result<Stage, ModelError> {
        let layers = site.layers;
        Ok(match site.gpu {
            None => Stage::Cpu(Box::new(CpuStage::load(
                source, config, options, layers, progress,
            )?)),
            Some((gpu, memory, embedding_on_host)) => {
                let wanted = Wanted {
                    source,
                    config,
                    options,
                    layers,
                    memory,
                    embedding_on_host,
                    threads,
                };
                Stage::Gpu(Box::new(GpuStage::load(gpu, wanted, progress)?))
            }
        })
    };
    if sites.len() == 1
        && let Some(site) = sites.pop()
    {
        return Ok(vec![(site.device, load(site, progress)?)]);
    }
    thread::scope(|scope| {
        let (sender, events) = mpsc::channel();
        let started: Vec<_> = sites
            .into_iter()
            .map(|site| {
                let (device, sender) = (site.device, sender.clone());
                // an owner who is gone needs no event
                let mut tell = move |event| drop(sender.send(event));
                (device, scope.spawn(move || load(site, &mut tell)))
            })
            .collect();
        drop(sender);
        events.iter().for_each(&mut *progress);
        let mut stages = Vec::with_capacity(started.len());
        for (stage, (device, thread)) in started.into_iter().enumerate() {
            let loaded = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let named = |source| ModelError::Stage {
                stage,
                device,
                source: Box::new(source),
            };
            stages.push((device, loaded.map_err(named)?));
        }
        Ok(stages)
    })
}

/// What the placement takes the CPU to read a second: it matters beside other devices alone, which
/// are all much faster.
const CPU_BANDWIDTH: f64 = 20e9;

/// Opens the cards, divides the layers and checks their memory, before anything is read.
fn sites(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<Site>, ModelError> {
    let mut gpus = Vec::with_capacity(options.devices.len());
    let mut cards = Vec::with_capacity(options.devices.len());
    for device in &options.devices {
        let (gpu, card) = match *device {
            DeviceSpec::Cpu => {
                // Mapped weights need no memory of their own, so nothing is refused here.
                let (kind, free) = (CardKind::Cpu, u64::MAX);
                (
                    None,
                    Card {
                        name: device.to_string(),
                        kind,
                        free,
                        bandwidth: CPU_BANDWIDTH,
                    },
                )
            }
            DeviceSpec::Gpu {
                ordinal,
                newest_code,
            } => {
                let gpu = OpenGpu::new(ordinal, newest_code)?;
                let card = gpu.card();
                (Some(gpu), card)
            }
        };
        gpus.push(gpu);
        cards.push(card);
    }
    let model = ModelBytes::of(source, config, options.cache, options.dtype);
    let smaller = [
        WeightFormat::Gptq(GptqBits::Eight),
        WeightFormat::Gptq(GptqBits::Four),
    ];
    let other_formats = smaller
        .map(|format| {
            (
                format,
                ModelBytes::in_format(config, format, options.cache, options.dtype),
            )
        })
        .into_iter()
        .filter(|(_, bytes)| bytes.layers.iter().sum::<u64>() < model.layers.iter().sum())
        .collect::<Vec<_>>();
    let placement = place(&Request {
        model: &model,
        cards: &cards,
        layers_per_card: options.layers_per_device.as_deref(),
        other_formats: &other_formats,
    })?;
    for note in &placement.notes {
        progress(LoadEvent::Noted {
            note: note.clone(),
            devices: options.devices.clone(),
        });
    }
    let embedding_on_host = placement.embedding_on_host();
    let mut sites = Vec::with_capacity(placement.stages.len());
    for (index, stage) in placement.stages.into_iter().enumerate() {
        let device = options.devices[stage.card];
        let free = cards[stage.card].free;
        let (weights, embedding, cache) = (stage.weights, stage.embedding, stage.cache);
        let memory = MemoryPlan {
            weights,
            embedding,
            cache,
            workspace: stage.workspace,
            free,
        };
        let gpu = gpus[stage.card].take();
        if gpu.is_some() {
            progress(LoadEvent::Planned {
                stage: index,
                device,
                layers: stage.layers.clone(),
                memory,
            });
        }
        let gpu = gpu.map(|gpu| (gpu, memory, embedding_on_host && stage.has_embedding));
        sites.push(Site {
            device,
            layers: stage.layers,
            gpu,
        });
    }
    Ok(sites)
}
