//! Loading: opens the devices, calls the placement, and loads all stages in parallel.

use std::{sync::mpsc, thread};

use moss_weights::GptqBits;

#[cfg(feature = "cuda")]
use crate::gpu::{GpuStage, OpenGpu};
use crate::{
    CacheShape, DeviceSpec, LoadEvent, LoadOptions, ModelError, MossConfig, WeightFormat,
    WeightSource,
    cpu::CpuStage,
    placement::{self, Device, DeviceKind, ModelBytes, Request, WantedCapacity, capacity, place},
    stage::{PlacedStage, Stage, StageSpec},
};

/// An open device without weights.
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
    fn describe(&self) -> Device {
        match self {
            // Mapped weights need no additional memory, so the CPU has no limit.
            Self::Cpu => Device {
                name: DeviceSpec::Cpu.to_string(),
                kind: DeviceKind::Cpu,
                free: u64::MAX,
                bandwidth: CPU_BANDWIDTH,
            },
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.describe(),
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
                    plan,
                    ..
                } = spec;
                let stage = CpuStage::load(source, config, options, plan.layers, progress)?;
                Ok(Box::new(stage))
            }
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => Ok(Box::new(GpuStage::load(*gpu, spec, progress)?)),
        }
    }
}

/// A planned stage and its open device.
struct PlannedStage {
    device: DeviceSpec,
    open: OpenDevice,
    plan: placement::Stage,
}

/// Loads the stages of `options`; several stages load in parallel, one thread each. Sets the size of
/// the KV cache and the rows of a decode step that follow from the memory.
pub(crate) fn stages(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &mut LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<PlacedStage>, ModelError> {
    let mut planned = plan(source, config, options, progress)?;
    let options = &*options;
    let threads = rayon::current_num_threads(); // of the caller's pool: the loading threads are not part of it
    let load = |stage: PlannedStage, progress: &mut dyn FnMut(LoadEvent)| {
        let spec = StageSpec {
            source,
            config,
            options,
            plan: stage.plan,
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
                // The receiver outlives the threads.
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

/// The CPU's bandwidth for the placement, in bytes per second. It only matters next to GPUs, which are
/// all much faster.
const CPU_BANDWIDTH: f64 = 20e9;

/// Sets the rows of a decode step and the KV cache to what the memory of the devices allows, as far as
/// the options permit.
fn use_memory(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &mut LoadOptions,
    devices: &[Device],
) {
    if devices.iter().any(|device| device.kind == DeviceKind::Cpu) {
        if options.fewer_rows {
            options.max_decode_rows = options.max_decode_rows.min(LoadOptions::CPU_ROWS);
        }
        return;
    }
    if !options.fill_memory {
        return;
    }
    let request = Request {
        model: &ModelBytes::of(source, config, options),
        devices,
        layers_per_device: options.layers_per_device.as_deref(),
        other_formats: &[],
    };
    let wanted = WantedCapacity {
        positions: options.cache.positions().min(config.context_length),
        sequences: options.max_decode_rows,
        may_reduce: options.fewer_rows,
    };
    let found = capacity(&request, config, wanted);
    options.cache = CacheShape::for_positions(found.positions);
    options.max_decode_rows = found.sequences;
}

/// Opens the devices, places the layers and checks the memory, before weights are read.
fn plan(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &mut LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<PlannedStage>, ModelError> {
    let mut open = Vec::with_capacity(options.devices.len());
    for device in &options.devices {
        open.push(Some(OpenDevice::open(*device)?));
    }
    let devices: Vec<Device> = open.iter().flatten().map(OpenDevice::describe).collect();
    use_memory(source, config, options, &devices);
    let options = &*options;
    let model = ModelBytes::of(source, config, options);
    let smaller = [
        WeightFormat::Gptq(GptqBits::Eight),
        WeightFormat::Gptq(GptqBits::Four),
    ];
    let other_formats = smaller
        .map(|format| (format, ModelBytes::in_format(config, format, options)))
        .into_iter()
        .filter(|(_, bytes)| bytes.layers.iter().sum::<u64>() < model.layers.iter().sum())
        .collect::<Vec<_>>();
    let placement = place(&Request {
        model: &model,
        devices: &devices,
        layers_per_device: options.layers_per_device.as_deref(),
        other_formats: &other_formats,
    })?;
    for note in &placement.notes {
        progress(LoadEvent::Noted {
            note: note.clone(),
            devices: options.devices.clone(),
        });
    }
    let mut planned = Vec::with_capacity(placement.stages.len());
    for (index, plan) in placement.stages.into_iter().enumerate() {
        let device = options.devices[plan.device];
        if device != DeviceSpec::Cpu {
            progress(LoadEvent::Planned {
                stage: index,
                device,
                plan: plan.clone(),
            });
        }
        // Each entry of the device list has at most one stage.
        if let Some(open) = open[plan.device].take() {
            planned.push(PlannedStage { device, open, plan });
        }
    }
    Ok(planned)
}
