//! Random sizes and devices, compared with exhaustive search.

use std::ops::Range;

use moss_model::{
    WeightFormat,
    placement::{
        Change, Device, DeviceKind, ModelBytes, Note, Placement, PlacementError, Request, place,
    },
};
use moss_weights::GptqBits;
use proptest::prelude::*;

use crate::{cpu, model, request};

/// Sizes of the same order as the free memory, so that some fit and some do not, with frequent ties
/// of the times.
fn any_model(most_layers: usize) -> impl Strategy<Value = ModelBytes> {
    let layers = prop_oneof![
        prop::collection::vec(1u64..30, 1..=most_layers),
        (1u64..30, 1..=most_layers).prop_map(|(bytes, count)| vec![bytes; count]),
    ];
    (layers, 0u64..30, 0u64..40, 0u64..5, 0u64..10).prop_map(
        |(layers, embedding, head, cache, workspace)| {
            model(&layers, embedding, head, cache, workspace)
        },
    )
}

fn any_device() -> impl Strategy<Value = Device> {
    let kind = prop_oneof![
        4 => (0usize..4).prop_map(|ordinal| DeviceKind::Gpu { ordinal }),
        1 => Just(DeviceKind::Cpu),
    ];
    (kind, 0u64..200, 1u32..5).prop_map(|(kind, free, bandwidth)| Device {
        name: "any".into(),
        kind,
        free,
        bandwidth: f64::from(bandwidth),
    })
}

/// Entries of one device are equal.
fn any_devices(most: usize) -> impl Strategy<Value = Vec<Device>> {
    prop::collection::vec(any_device(), 1..=most).prop_map(|mut devices| {
        for index in 0..devices.len() {
            let first = devices
                .iter()
                .position(|device| device.kind == devices[index].kind)
                .unwrap();
            (devices[index].free, devices[index].bandwidth) =
                (devices[first].free, devices[first].bandwidth);
        }
        devices
    })
}

fn has_gpu(devices: &[Device]) -> bool {
    devices.iter().any(|device| device.kind != DeviceKind::Cpu)
}

fn read(model: &ModelBytes, layers: &Range<usize>) -> u64 {
    let head = if layers.end == model.layers.len() {
        model.head
    } else {
        0
    };
    model.layers[layers.clone()].iter().sum::<u64>()
        + model.cache_per_layer() * layers.len() as u64
        + head
}

/// Bytes that the CPU reads if there are GPUs, and nanoseconds of the stages, slowest first.
type Cost = (u64, Vec<u64>);

fn cost(model: &ModelBytes, devices: &[Device], stages: &[(usize, Range<usize>)]) -> Cost {
    let on_cpu = stages
        .iter()
        .filter(|(device, _)| has_gpu(devices) && devices[*device].kind == DeviceKind::Cpu);
    let time = |(device, layers): &(usize, Range<usize>)| {
        (read(model, layers) as f64 / devices[*device].bandwidth * 1e9).round() as u64
    };
    let mut times: Vec<u64> = stages.iter().map(time).collect();
    times.sort_by(|a, b| b.cmp(a));
    (on_cpu.map(|(_, layers)| read(model, layers)).sum(), times)
}

fn cost_of(model: &ModelBytes, devices: &[Device], placement: &Placement) -> Cost {
    let stages: Vec<_> = placement
        .stages
        .iter()
        .map(|stage| (stage.device, stage.layers.clone()))
        .collect();
    cost(model, devices, &stages)
}

/// Returns true if every device has enough memory, without the embedding.
fn fits(model: &ModelBytes, devices: &[Device], stages: &[(usize, Range<usize>)]) -> bool {
    devices.iter().all(|device| {
        let here = stages
            .iter()
            .filter(|(other, _)| devices[*other].kind == device.kind);
        here.map(|(_, layers)| read(model, layers) + model.workspace)
            .sum::<u64>()
            <= device.free
    })
}

/// Returns the smallest cost of all divisions that fit, by exhaustive search.
fn best_of_all(model: &ModelBytes, devices: &[Device]) -> Option<Cost> {
    fn go(
        model: &ModelBytes,
        devices: &[Device],
        device: usize,
        start: usize,
        stages: &mut Vec<(usize, Range<usize>)>,
        best: &mut Option<Cost>,
    ) {
        if device == devices.len() {
            if start == model.layers.len() && fits(model, devices, stages) {
                let found = cost(model, devices, stages);
                if best.as_ref().is_none_or(|best| found < *best) {
                    *best = Some(found);
                }
            }
            return;
        }
        go(model, devices, device + 1, start, stages, best);
        for end in start + 1..=model.layers.len() {
            stages.push((device, start..end));
            go(model, devices, device + 1, end, stages, best);
            stages.pop();
        }
    }
    let mut best = None;
    go(model, devices, 0, 0, &mut Vec::new(), &mut best);
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exhaustive_search_finds_nothing_better(model in any_model(7), devices in any_devices(4)) {
        let found = place(&request(&model, &devices)).ok().map(|placement| cost_of(&model, &devices, &placement));
        prop_assert_eq!(found, best_of_all(&model, &devices));
    }

    #[test]
    fn every_layer_is_placed_once_in_order_and_within_memory(model in any_model(12), devices in any_devices(6)) {
        let Ok(placement) = place(&request(&model, &devices)) else { return Ok(()) };
        let (mut layer, mut next_device) = (0, 0);
        for (index, stage) in placement.stages.iter().enumerate() {
            prop_assert!(stage.device >= next_device && !stage.layers.is_empty());
            prop_assert_eq!(stage.layers.start, layer);
            prop_assert_eq!(stage.has_embedding, index == 0);
            prop_assert_eq!(stage.has_head, index + 1 == placement.stages.len());
            (layer, next_device) = (stage.layers.end, stage.device + 1);
        }
        prop_assert_eq!(layer, model.layers.len());
        for device in &devices {
            let here = placement.stages.iter().filter(|stage| devices[stage.device].kind == device.kind);
            let used: u64 = here.clone().map(|stage| stage.needed()).sum();
            prop_assert!(used <= device.free);
            for stage in here {
                prop_assert_eq!(stage.free_after, device.free - used);
            }
        }
        let weights: u64 = placement.stages.iter().map(|stage| stage.weights).sum();
        prop_assert_eq!(weights, model.layers.iter().sum::<u64>() + model.head);
        let left_out = placement.notes.iter().filter(|note| matches!(note, Note::LeftOut { .. })).count();
        prop_assert_eq!(left_out + placement.stages.len(), devices.len());
    }

    #[test]
    fn more_memory_never_makes_a_plan_worse(
        model in any_model(8), devices in any_devices(4), index in any::<prop::sample::Index>(), more in 1u64..100,
    ) {
        let Ok(before) = place(&request(&model, &devices)) else { return Ok(()) };
        let mut larger = devices.clone();
        let kind = devices[index.index(devices.len())].kind;
        larger.iter_mut().filter(|device| device.kind == kind).for_each(|device| device.free += more);
        let after = place(&request(&model, &larger));
        prop_assert!(after.is_ok());
        // With less work on the CPU, which is minimized first, a GPU may be slower.
        prop_assert!(cost_of(&model, &larger, &after.unwrap()) <= cost_of(&model, &devices, &before));
    }

    #[test]
    fn missing_bytes_are_exact_and_every_change_fits(model in any_model(8), devices in any_devices(4)) {
        let half = ModelBytes { layers: model.layers.iter().map(|bytes| bytes / 2).collect(), ..model.clone() };
        let formats = [(WeightFormat::Gptq(GptqBits::Eight), half.clone())];
        let asked = Request { other_formats: &formats, ..request(&model, &devices) };
        let Err(error) = place(&asked) else { return Ok(()) };
        let PlacementError::DoesNotFit { shortfalls, changes } = &error else {
            return Err(TestCaseError::fail(error.to_string()));
        };
        prop_assert!(!shortfalls.is_empty() && shortfalls.iter().all(|device| device.missing > 0));
        // With the missing memory added, it fits.
        let mut larger = devices.clone();
        for short in shortfalls {
            let kind = devices[short.device].kind;
            larger.iter_mut().filter(|device| device.kind == kind).for_each(|device| device.free += short.missing);
        }
        prop_assert!(place(&request(&model, &larger)).is_ok());
        for change in changes {
            let fits = match *change {
                Change::Format(_) => place(&request(&half, &devices)).is_ok(),
                Change::MoreGpus { count, like } => {
                    let new = |number| Device { kind: DeviceKind::Gpu { ordinal: 10 + number }, ..devices[like].clone() };
                    let with = |count| [devices.clone(), (0..count).map(new).collect()].concat();
                    let fewer = with(count - 1);
                    prop_assert!(place(&request(&model, &fewer)).is_err(), "fewer would do");
                    place(&request(&model, &with(count))).is_ok()
                }
                Change::Cpu { bytes, .. } => {
                    let with = [devices.clone(), vec![cpu(bytes, 1.0)]].concat();
                    place(&request(&model, &with)).is_ok()
                }
                Change::Division | Change::Context { .. } => false,
            };
            prop_assert!(fits, "{change:?}");
        }
    }
}
