//! From a source of weights to stages in place: who gets which layers, and all of them at the same time.

use std::{ops::Range, sync::mpsc, thread};

use crate::{
    DeviceSpec, LoadEvent, LoadOptions, ModelError, MossConfig, WeightSource,
    cpu::CpuStage,
    gpu::{GpuStage, OpenGpu},
    pipeline::Stage,
};

/// A stage that is planned, its card open, and nothing on it.
struct Site {
    device: DeviceSpec,
    layers: Range<usize>,
    /// The open card, and whether the embedding stays in host memory.
    gpu: Option<(OpenGpu, bool)>,
}

/// Loads every stage that `options` ask for, on a thread of its own where there are several.
pub(crate) fn stages(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<(DeviceSpec, Stage)>, ModelError> {
    let mut sites = sites(source, config, options, progress)?;
    let load = |site: Site, progress: &mut dyn FnMut(LoadEvent)| -> Result<Stage, ModelError> {
        let layers = site.layers;
        Ok(match site.gpu {
            None => Stage::Cpu(Box::new(CpuStage::load(source, config, options, layers, progress)?)),
            Some((gpu, embedding_on_host)) => {
                let stage =
                    GpuStage::load(gpu, source, config, options, layers, embedding_on_host, progress)?;
                Stage::Gpu(Box::new(stage))
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
                let mut tell = move |event| drop(sender.send(event)); // an owner who is gone needs no event
                (device, scope.spawn(move || load(site, &mut tell)))
            })
            .collect();
        drop(sender);
        events.iter().for_each(&mut *progress);
        let mut stages = Vec::with_capacity(started.len());
        for (stage, (device, thread)) in started.into_iter().enumerate() {
            let loaded = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let named = |source| ModelError::Stage { stage, device, source: Box::new(source) };
            stages.push((device, loaded.map_err(named)?));
        }
        Ok(stages)
    })
}

/// Divides the layers, opens the cards and checks their memory, before anything is read.
fn sites(
    source: &dyn WeightSource,
    config: &MossConfig,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadEvent),
) -> Result<Vec<Site>, ModelError> {
    let mut sites = Vec::new();
    let mut first = 0;
    let counts = layers_per_device(config.num_layers, options)?;
    for (stage, (device, count)) in options.devices.iter().zip(counts).enumerate() {
        let end = first + count;
        let layers = first..end;
        first = end;
        if layers.is_empty() {
            continue;
        }
        let gpu = match *device {
            DeviceSpec::Cpu => None,
            DeviceSpec::Gpu { ordinal, newest_code } => {
                let gpu = OpenGpu::new(ordinal, newest_code)?;
                let memory = gpu.plan(source, config, options.cache, layers.clone())?;
                progress(LoadEvent::Planned { stage, device: *device, layers: layers.clone(), memory });
                let embedding_on_host = layers.start == 0 && memory.embedding == 0;
                Some((gpu, embedding_on_host))
            }
        };
        sites.push(Site { device: *device, layers, gpu });
    }
    Ok(sites)
}

/// As asked for, or alike for all; devices beyond the number of layers get none.
fn layers_per_device(layers: usize, options: &LoadOptions) -> Result<Vec<usize>, ModelError> {
    let devices = options.devices.len();
    let Some(counts) = &options.layers_per_device else {
        let used = devices.min(layers);
        return Ok((0..used).map(|stage| layers * (stage + 1) / used - layers * stage / used).collect());
    };
    let refuse = |rule| {
        let found = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        Err(ModelError::Layers { found, rule })
    };
    if counts.len() != devices {
        return refuse(format!("one number for each of {devices} devices"));
    }
    if counts.contains(&0) {
        return refuse("at least 1 for each device".into());
    }
    match counts.iter().sum::<usize>() == layers {
        true => Ok(counts.clone()),
        false => refuse(format!("{layers} layers in all")),
    }
}
