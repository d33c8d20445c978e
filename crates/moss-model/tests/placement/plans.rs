//! Plans for the published sizes, and errors.

use moss_model::{
    KvCacheType, LoadOptions, MossConfig, WeightFormat,
    placement::{Change, Device, LeftOut, ModelBytes, Note, PlacementError, Request, place},
};
use moss_weights::GptqBits;

use crate::{GIB, counts, cpu, gpu, model, request};

fn moon(format: WeightFormat, positions: usize) -> ModelBytes {
    let config = MossConfig::moon_003();
    ModelBytes::in_format(&config, format, &LoadOptions::gpu(0, positions))
}

fn t4s(count: usize) -> Vec<Device> {
    (0..count)
        .map(|ordinal| gpu(ordinal, 14 * GIB + GIB / 2, 320e9))
        .collect()
}

const INT8: WeightFormat = WeightFormat::Gptq(GptqBits::Eight);
const INT4: WeightFormat = WeightFormat::Gptq(GptqBits::Four);

#[test]
fn an_8_bit_cache_is_counted_with_its_scales_and_its_buffer() {
    let config = MossConfig::moon_003();
    let with = |kv_cache| {
        let options = LoadOptions {
            kv_cache,
            ..LoadOptions::gpu(0, 2048)
        };
        ModelBytes::in_format(&config, WeightFormat::F16, &options)
    };
    let [native, int8] = [KvCacheType::Native, KvCacheType::Int8].map(with);
    // Keys and values of 24 heads of 256.
    assert_eq!(native.cache_per_position, 2 * 24 * 512);
    assert_eq!(int8.cache_per_position, 2 * 24 * 258);
    // Those of the 512 tokens of a micro-batch, in f16.
    assert_eq!(int8.unrounded, 512 * native.cache_per_position);
    assert_eq!(native.unrounded, 0);
}

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
fn the_workspace_has_the_buffers_of_each_row_of_a_decode_step() {
    let config = MossConfig::moon_003();
    let workspace = |rows| {
        let model = moon(INT4, 2048).with_decode_rows(&config, rows);
        model.workspace
    };
    // Heads, splits, partial results and a counter; only for fewer than 32 rows.
    let attention = 24 * (64 * (2 + 256) + 1) * 4;
    let sampling = 2048 * 4 + 4172;
    let head = 107_008 * 4 + 6144 * 2;
    assert_eq!(workspace(256) - workspace(128), 128 * (sampling + head));
    // lm_head has 64 rows in any case, and graphs of 17 to 24 rows are the same.
    // More than 16 rows have the scratch of the linear kernels of sm_90.
    let linear = 144 * 2 * 8 * 64 * 64 * 4;
    let few = 8 * (attention + sampling);
    assert_eq!(workspace(24) - workspace(16), few + linear);
    assert_eq!(workspace(64) - workspace(32), 32 * sampling);
    assert_eq!(workspace(17), workspace(24));
    assert_eq!([workspace(0), workspace(257)], [1, 256].map(workspace));
    assert_eq!(moon(INT4, 2048).workspace, workspace(32));
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
    for wrong in [
        &[9, 9, 16][..],
        &[17, 0, 9, 8],
        &[9, 9, 9, 9],
        &[usize::MAX; 4],
    ] {
        let found: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        let expected = PlacementError::Layers {
            found: found.join(","),
            devices: 4,
            layers: 34,
        };
        assert_eq!(requested(wrong).unwrap_err(), expected);
    }
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
    let none_listed = place(&request(&one, &[]));
    assert!(matches!(
        none_listed,
        Err(PlacementError::Devices { found: 0, .. })
    ));
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
