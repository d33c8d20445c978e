//! From a source of weights to stages in place: who gets which layers, and all of them at the same
//! time.

use std::{ops::Range, sync::mpsc, thread};

use moss_weights::GptqBits;

#[cfg(feature = "cuda")]
use crate::gpu::{GpuStage, OpenGpu};
use crate::{
    DeviceSpec, LoadEvent, LoadOptions, MemoryPlan, ModelError, MossConfig, WeightFormat,
    WeightSource,
    cpu::CpuStage,
    placement::{Card, CardKind, ModelBytes, Request, place},
    stage::{PlacedStage, Stage},
};

/// The layers that a GPU stage loads, and their source.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) struct StageSpec<'a> {
    pub(crate) source: &'a dyn WeightSource,
    pub(crate) config: &'a MossConfig,
    pub(crate) options: &'a LoadOptions,
    pub(crate) layers: Range<usize>,
    pub(crate) memory: MemoryPlan,
    pub(crate) embedding_on_host: bool,
    /// That may read at the same time.
    pub(crate) threads: usize,
}

/// A device that is open, before anything is on it.
enum OpenDevice {
    Cpu,
    #[cfg(feature = "cuda")]
    Gpu(Box<OpenGpu>),
}

impl OpenDevice {
    fn open(device: DeviceSpec) -> Result<Self, ModelError> {
        match device {
            DeviceSpec::Cpu => Ok(Self::Cpu),
            #[cfg(feature = "cuda")]
            DeviceSpec::Gpu {
                ordinal,
                newest_code,
            } => Ok(Self::Gpu(Box::new(OpenGpu::new(ordinal, newest_code)?))),
            #[cfg(not(feature = "cuda"))]
            DeviceSpec::Gpu { .. } => {
                Err(ModelError::Gpu(moss_weights::KernelError::NotCompiled {
                    op: "GPU",
                }))
            }
        }
    }

    /// Describes the device for the placement.
    fn card(&self) -> Card {
        match self {
            // Mapped weights need no memory of their own, so nothing is refused here.
            Self::Cpu => Card {
                name: DeviceSpec::Cpu.to_string(),
                kind: CardKind::Cpu,
                free: u64::MAX,
                bandwidth: CPU_BANDWIDTH,
            },
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.card(),
        }
    }

    fn load(
        self,
        spec: StageSpec<'_>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Box<dyn Stage>, ModelError> {
        match self {
            Self::Cpu => {
                let StageSpec {
                    source,
                    config,
                    options,
                    layers,
                    ..
                } = spec;
                let stage = CpuStage::load(source, config, options, layers, progress)?;
                Ok(Box::new(stage))
            }
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => Ok(Box::new(GpuStage::load(*gpu, spec, progress)?)),
        }
    }
}

/// A stage that is planned, its device open, and nothing on it.
struct PlannedStage {
    device: DeviceSpec,
    open: OpenDevice,
    layers: Range<usize>,
    memory: MemoryPlan,
    embedding_on_host: bool,
}

/// Loads every stage that `options` ask for, on a thread of its own where there are several.
pub(crate) fn stages(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<PlacedStage>, ModelError> {
    let mut planned = plan(source, config, options, progress)?;
    let threads = rayon::current_num_threads(); // the caller's: stages load on threads of their own
    let load = |stage: PlannedStage, progress: &mut dyn FnMut(LoadEvent)| {
        let spec = StageSpec {
            source,
            config,
            options,
            layers: stage.layers,
            memory: stage.memory,
            embedding_on_host: stage.embedding_on_host,
            threads,
        };
        stage.open.load(spec, progress)
    };
    if planned.len() == 1
        && let Some(stage) = planned.pop()
    {
        return Ok(vec![(stage.device, load(stage, progress)?)]);
    }
    thread::scope(|scope| {
        let (sender, events) = mpsc::channel();
        let started: Vec<_> = planned
            .into_iter()
            .map(|stage| {
                let (device, sender) = (stage.device, sender.clone());
                // an owner who is gone needs no event
                let mut tell = move |event| drop(sender.send(event));
                (device, scope.spawn(move || load(stage, &mut tell)))
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

/// Opens the devices, divides the layers and checks their memory, before anything is read.
fn plan(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<PlannedStage>, ModelError> {
    let mut open = Vec::with_capacity(options.devices.len());
    for device in &options.devices {
        open.push(Some(OpenDevice::open(*device)?));
    }
    let cards: Vec<Card> = open.iter().flatten().map(OpenDevice::card).collect();
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
    let mut planned = Vec::with_capacity(placement.stages.len());
    for (index, stage) in placement.stages.into_iter().enumerate() {
        let device = options.devices[stage.card];
        let memory = MemoryPlan {
            weights: stage.weights,
            embedding: stage.embedding,
            cache: stage.cache,
            workspace: stage.workspace,
            free: cards[stage.card].free,
        };
        if device != DeviceSpec::Cpu {
            progress(LoadEvent::Planned {
                stage: index,
                device,
                layers: stage.layers.clone(),
                memory,
            });
        }
        // A card has one stage.
        if let Some(open) = open[stage.card].take() {
            planned.push(PlannedStage {
                device,
                open,
                layers: stage.layers,
                memory,
                embedding_on_host: embedding_on_host && stage.has_embedding,
            });
        }
    }
    Ok(planned)
}
