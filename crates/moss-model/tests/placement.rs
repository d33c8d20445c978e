//! Placement: properties for any sizes and devices, comparison with exhaustive search, and plans for
//! the published sizes.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use moss_model::{
    CacheShape, ComputeDtype, MossConfig, WeightFormat,
    placement::{
        Change, Device, DeviceKind, LeftOut, ModelBytes, Note, Placement, PlacementError, Request,
        place,
    },
};
use moss_weights::GptqBits;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn model(layers: &[u64], embedding: u64, head: u64, cache: u64, workspace: u64) -> ModelBytes {
    ModelBytes {
        layers: layers.to_vec(),
        embedding,
        head,
        cache_per_position: cache,
        positions: 1,
        workspace,
    }
}

fn gpu(ordinal: usize, free: u64, bandwidth: f64) -> Device {
    Device {
        name: format!("GPU {ordinal}"),
        kind: DeviceKind::Gpu { ordinal },
        free,
        bandwidth,
    }
}

fn cpu(free: u64, bandwidth: f64) -> Device {
    Device {
        name: "cpu".into(),
        kind: DeviceKind::Cpu,
        free,
        bandwidth,
    }
}

fn request<'a>(model: &'a ModelBytes, devices: &'a [Device]) -> Request<'a> {
    Request {
        model,
        devices,
        layers_per_device: None,
        other_formats: &[],
    }
}

fn counts(placement: &Placement) -> Vec<usize> {
    placement
        .stages
        .iter()
        .map(|stage| stage.layers.len())
        .collect()
}

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

/// Returns the bytes that the CPU reads if there are GPUs, and the time of the slowest stage in
/// nanoseconds.
fn cost(model: &ModelBytes, devices: &[Device], stages: &[(usize, Range<usize>)]) -> (u64, u64) {
    let on_cpu = stages
        .iter()
        .filter(|(device, _)| has_gpu(devices) && devices[*device].kind == DeviceKind::Cpu);
    let time = |(device, layers): &(usize, Range<usize>)| {
        (read(model, layers) as f64 / devices[*device].bandwidth * 1e9).round() as u64
    };
    (
        on_cpu.map(|(_, layers)| read(model, layers)).sum(),
        stages.iter().map(time).max().unwrap_or(0),
    )
}

fn cost_of(model: &ModelBytes, devices: &[Device], placement: &Placement) -> (u64, u64) {
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
fn best_of_all(model: &ModelBytes, devices: &[Device]) -> Option<(u64, u64)> {
    fn go(
        model: &ModelBytes,
        devices: &[Device],
        device: usize,
        start: usize,
        stages: &mut Vec<(usize, Range<usize>)>,
        best: &mut Option<(u64, u64)>,
    ) {
        if device == devices.len() {
            if start == model.layers.len() && fits(model, devices, stages) {
                let found = cost(model, devices, stages);
                *best = Some(best.map_or(found, |best| best.min(found)));
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
            let used: u64 = here.clone().map(moss_model::placement::Stage::needed).sum();
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

fn moon(format: WeightFormat, positions: usize) -> ModelBytes {
    let config = MossConfig::moon_003();
    ModelBytes::in_format(
        &config,
        format,
        CacheShape::for_positions(positions),
        ComputeDtype::F16,
    )
}

fn t4s(count: usize) -> Vec<Device> {
    (0..count)
        .map(|ordinal| gpu(ordinal, 14 * GIB + GIB / 2, 320e9))
        .collect()
}

const INT8: WeightFormat = WeightFormat::Gptq(GptqBits::Eight);
const INT4: WeightFormat = WeightFormat::Gptq(GptqBits::Four);

#[test]
fn the_last_of_four_equal_gpus_gets_fewer_layers_because_of_the_head() {
    let model = moon(WeightFormat::F16, 2048);
    let placement = place(&request(&model, &t4s(4))).unwrap();
    assert_eq!(counts(&placement), [9, 9, 9, 7]);
    assert!(placement.notes.is_empty() && placement.stages[0].embedding == model.embedding);
}

#[test]
fn a_gpu_with_less_memory_gets_fewer_layers() {
    let model = moon(WeightFormat::F16, 2048);
    let mut devices = t4s(4);
    devices[1].free = 6 * GIB;
    let placement = place(&request(&model, &devices)).unwrap();
    assert_eq!(counts(&placement), [10, 6, 10, 8]);
}

#[test]
fn published_sizes_match_those_of_the_files() {
    // Bytes of weights that a token reads. Scales take more memory than in the files.
    for (format, gigabytes) in [(WeightFormat::F16, 32.1), (INT8, 17.1), (INT4, 9.3)] {
        let model = moon(format, 2048);
        let read = (model.layers.iter().sum::<u64>() + model.head) as f64 / 1e9;
        assert!((read / gigabytes - 1.0).abs() < 0.04, "{format}: {read}");
        assert_eq!(model.cache_per_layer() * 34, 2048 * 816 * 1024);
    }
}

#[test]
fn the_embedding_stays_in_host_memory_if_it_does_not_fit() {
    let model = model(&[10, 10], 5, 5, 0, 1);
    let needed = 10 + 10 + 5 + 1;
    let exact = [gpu(0, needed, 1.0)];
    let placement = place(&request(&model, &exact)).unwrap();
    assert!(placement.embedding_on_host() && placement.stages[0].embedding == 0);
    let roomy = [gpu(0, needed + 5, 1.0)];
    let placement = place(&request(&model, &roomy)).unwrap();
    assert!(!placement.embedding_on_host() && placement.stages[0].free_after == 0);
    assert!(place(&request(&model, &[gpu(0, needed - 1, 1.0)])).is_err());
}

#[test]
fn the_cpu_gets_only_layers_that_do_not_fit_the_gpus() {
    let model = model(&[10; 6], 0, 0, 0, 0);
    let spilled = [gpu(0, 40, 100.0), cpu(1000, 1.0)];
    let placement = place(&request(&model, &spilled)).unwrap();
    assert_eq!(counts(&placement), [4, 2]);
    assert_eq!(
        placement.notes,
        [Note::OnCpu {
            layers: 2,
            seconds: 20.0,
            of_seconds: 20.4
        }]
    );
    let roomy = [gpu(0, 60, 100.0), cpu(1000, 1000.0)];
    let placement = place(&request(&model, &roomy)).unwrap();
    assert_eq!(counts(&placement), [6]);
    assert_eq!(
        placement.notes,
        [Note::LeftOut {
            device: 1,
            why: LeftOut::NotNeeded
        }]
    );
    let only = [cpu(60, 1.0), cpu(60, 1.0)];
    assert_eq!(counts(&place(&request(&model, &only)).unwrap()), [3, 3]);
}

#[test]
fn more_devices_than_layers_are_left_out_with_a_note() {
    let model = model(&[10, 10], 0, 0, 0, 0);
    let devices: Vec<Device> = (0..3).map(|ordinal| gpu(ordinal, 100, 1.0)).collect();
    let placement = place(&request(&model, &devices)).unwrap();
    assert_eq!(counts(&placement), [1, 1]);
    assert_eq!(
        placement.notes,
        [Note::LeftOut {
            device: 2,
            why: LeftOut::NoLayersLeft
        }]
    );
}

#[test]
fn a_gpu_listed_four_times_runs_four_stages_within_its_memory() {
    let model = model(&[10; 8], 0, 0, 0, 5);
    let devices = |free| vec![gpu(0, free, 1.0); 4];
    assert_eq!(
        counts(&place(&request(&model, &devices(100))).unwrap()),
        [2, 2, 2, 2]
    );
    assert_eq!(
        place(&request(&model, &devices(85))).unwrap().stages.len(),
        1,
        "memory for one workspace"
    );
    let Err(PlacementError::DoesNotFit { shortfalls, .. }) = place(&request(&model, &devices(84)))
    else {
        panic!("80 bytes of weights and 5 of workspace fit 84")
    };
    assert_eq!(
        (
            shortfalls.len(),
            shortfalls[0].missing,
            shortfalls[0].layers
        ),
        (1, 1, 8)
    );
}

#[test]
fn requested_layers_are_used_or_rejected_with_an_exact_error() {
    let model = moon(WeightFormat::F16, 2048);
    let devices = t4s(4);
    let requested = |counts| {
        place(&Request {
            layers_per_device: Some(counts),
            ..request(&model, &devices)
        })
    };
    assert_eq!(counts(&requested(&[7, 9, 9, 9]).unwrap()), [7, 9, 9, 9]);
    assert_eq!(
        requested(&[9, 9, 16]).unwrap_err(),
        PlacementError::Counts {
            found: 3,
            expected: 4
        }
    );
    assert_eq!(
        requested(&[17, 0, 9, 8]).unwrap_err(),
        PlacementError::Empty { device: 1 }
    );
    assert_eq!(
        requested(&[9, 9, 9, 9]).unwrap_err(),
        PlacementError::Sum {
            found: 36,
            expected: 34
        }
    );
    let Err(PlacementError::DoesNotFit {
        shortfalls,
        changes,
    }) = requested(&[31, 1, 1, 1])
    else {
        panic!("31 layers of fp16 fit a T4")
    };
    assert_eq!((shortfalls[0].device, changes), (0, vec![Change::Division]));
}

#[test]
fn a_model_that_does_not_fit_gets_every_kind_of_advice() {
    let model = moon(WeightFormat::F16, 2048);
    let formats = [(INT8, moon(INT8, 2048)), (INT4, moon(INT4, 2048))];
    let devices = t4s(2);
    let error = place(&Request {
        other_formats: &formats,
        ..request(&model, &devices)
    })
    .unwrap_err();
    let PlacementError::DoesNotFit {
        shortfalls,
        changes,
    } = &error
    else {
        panic!("{error}")
    };
    assert!(!shortfalls.is_empty());
    assert!(changes.contains(&Change::Format(INT8)), "{changes:?}");
    assert!(
        changes.contains(&Change::MoreGpus { count: 1, like: 0 }),
        "{changes:?}"
    );
    assert!(
        matches!(changes[..], [.., Change::Cpu { .. }]),
        "{changes:?}"
    );
    assert!(error.hint().unwrap().contains("int8"));
}

#[test]
fn the_longest_context_that_fits_is_exact() {
    let model = moon(INT4, 2048);
    let without_cache = model.layers.iter().sum::<u64>() + model.head + model.workspace;
    for blocks in [16, 50, 127] {
        let devices = [gpu(0, without_cache + blocks * 16 * 816 * 1024, 320e9)];
        let Err(PlacementError::DoesNotFit { changes, .. }) = place(&request(&model, &devices))
        else {
            panic!("2048 positions fit {blocks} blocks")
        };
        assert_eq!(
            changes[0],
            Change::Context {
                positions: blocks as usize * 16
            }
        );
    }
}

#[test]
fn invalid_requests_are_errors() {
    let none = model(&[], 0, 0, 0, 0);
    let one = model(&[1], 0, 0, 0, 0);
    assert_eq!(place(&request(&one, &[])), Err(PlacementError::NoDevices));
    assert_eq!(
        place(&request(&none, &[gpu(0, 1, 1.0)])),
        Err(PlacementError::NoLayers)
    );
    for bandwidth in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = place(&request(&one, &[gpu(0, 1, bandwidth)]));
        assert!(
            matches!(refused, Err(PlacementError::Bandwidth { .. })),
            "{bandwidth}"
        );
    }
    let huge = model(&[u64::MAX; 3], u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    assert!(place(&request(&huge, &[gpu(0, 1, 1.0), gpu(1, 1, 1.0)])).is_err());
}

#[test]
fn alternating_gpus_share_their_memory() {
    let layers: Vec<u64> = (0..34).map(|layer| 1000 + layer * layer % 7).collect();
    let model = model(&layers, 0, 1450, 3, 10);
    let devices = |free| -> Vec<Device> { (0..8).map(|index| gpu(index % 2, free, 1.0)).collect() };
    assert_eq!(
        place(&request(&model, &devices(25_000)))
            .unwrap()
            .stages
            .len(),
        8
    );
    assert!(
        place(&request(&model, &devices(18_600))).is_ok(),
        "18 layers, and 16 with the head"
    );
    assert!(
        place(&request(&model, &devices(18_000))).is_err(),
        "17 layers, and no room for 17 with the head"
    );
}

#[test]
fn layers_of_many_sizes_are_placed_on_alternating_gpus() {
    let layers: Vec<u64> = (0..34u64)
        .map(|layer| 1000 + layer * 2_654_435_761 % 700)
        .collect();
    let model = model(&layers, 0, 1450, 3, 10);
    let devices: Vec<Device> = (0..16).map(|index| gpu(index % 4, 13_500, 1.0)).collect();
    let placement = place(&request(&model, &devices)).unwrap();
    assert!(placement.stages.len() > 8);
}

#[test]
fn hundreds_of_layers_are_placed_on_sixty_four_gpus() {
    let model = model(&[1000; 300], 0, 1450, 3, 10);
    let devices: Vec<Device> = (0..64).map(|ordinal| gpu(ordinal, 10_000, 1.0)).collect();
    let placement = place(&request(&model, &devices)).unwrap();
    assert_eq!(
        placement
            .stages
            .iter()
            .map(|stage| stage.layers.len())
            .max(),
        Some(5)
    );
}
