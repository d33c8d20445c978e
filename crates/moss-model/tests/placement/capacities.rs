//! KV caches that fill the memory, and the sequences that share them.

use moss_model::{
    LoadOptions, MossConfig, WeightFormat,
    placement::{Capacity, Device, ModelBytes, Request, WantedCapacity, capacity, place},
};
use moss_weights::GptqBits;
use proptest::prelude::*;

use crate::{GIB, gpu};

const WINDOW: usize = 2048;
const WANTED: WantedCapacity = WantedCapacity {
    positions: WINDOW,
    sequences: 256,
    may_reduce: true,
};

fn moon(format: WeightFormat) -> ModelBytes {
    let options = LoadOptions::gpu(0, WINDOW);
    ModelBytes::in_format(&MossConfig::moon_003(), format, &options)
}

fn of(model: &ModelBytes, devices: &[Device], wanted: WantedCapacity) -> Capacity {
    let request = Request {
        model,
        devices,
        layers_per_device: None,
        other_formats: &[],
    };
    capacity(&request, &MossConfig::moon_003(), wanted)
}

/// Returns true if the model fits with a cache and buffers of this size.
fn fits(model: &ModelBytes, devices: &[Device], found: Capacity) -> bool {
    let model = ModelBytes {
        positions: found.positions,
        ..model.clone()
    };
    let model = &model.with_decode_rows(&MossConfig::moon_003(), found.sequences);
    let request = Request {
        model,
        devices,
        layers_per_device: None,
        other_formats: &[],
    };
    place(&request).is_ok()
}

const INT4: WeightFormat = WeightFormat::Gptq(GptqBits::Four);

#[test]
fn a_t4_serves_int4_with_its_defaults() {
    let (model, t4) = (moon(INT4), [gpu(0, 14 * GIB + GIB / 2, 320e9)]);
    let found = of(&model, &t4, WANTED);
    assert!(fits(&model, &t4, found));
    assert!(
        found.positions >= 4096 && (8..=32).contains(&found.sequences),
        "{found:?}"
    );
}

#[test]
fn a_large_gpu_serves_the_most_sequences() {
    let (model, h200) = (moon(WeightFormat::F16), [gpu(0, 139 * GIB, 4800e9)]);
    let found = of(&model, &h200, WANTED);
    assert_eq!(found.sequences, 256);
    assert!(found.positions > 256 * 400, "{found:?}");
}

#[test]
fn a_given_number_of_sequences_is_kept() {
    let t4 = [gpu(0, 14 * GIB + GIB / 2, 320e9)];
    let wanted = WantedCapacity {
        may_reduce: false,
        ..WANTED
    };
    let (all, fewer) = (of(&moon(INT4), &t4, wanted), of(&moon(INT4), &t4, WANTED));
    assert_eq!(all.sequences, 256);
    assert!(all.positions < fewer.positions);
}

#[test]
fn no_cache_is_larger_than_every_sequence_can_use() {
    let wanted = WantedCapacity {
        sequences: 2,
        ..WANTED
    };
    let found = of(&moon(INT4), &[gpu(0, 139 * GIB, 4800e9)], wanted);
    assert_eq!((found.positions, found.sequences), (2 * WINDOW, 2));
}

#[test]
fn without_enough_memory_the_smallest_cache_remains_and_is_rejected() {
    let small = [gpu(0, 8 * GIB, 320e9)];
    let found = of(&moon(INT4), &small, WANTED);
    assert_eq!(found.positions, WINDOW);
    assert!(!fits(&moon(INT4), &small, found));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A cache fits, leaves memory, does not move the embedding to the host, and grows with the
    /// memory.
    #[test]
    fn a_cache_fits_and_grows_with_the_memory(gib in 10u64..150, more in 0u64..40, gpus in 1usize..3) {
        let model = moon(INT4);
        let devices = |gib: u64| -> Vec<Device> {
            (0..gpus).map(|ordinal| gpu(ordinal, gib * GIB / gpus as u64, 1e12)).collect()
        };
        let found = of(&model, &devices(gib), WANTED);
        let larger = of(&model, &devices(gib + more), WANTED);
        prop_assert!(gpus > 1 || larger.sequences >= found.sequences);
        // On several GPUs, a cache may become smaller so that the embedding stays on the first one.
        if larger.sequences == found.sequences && gpus == 1 {
            prop_assert!(larger.positions >= found.positions);
        }
        prop_assert!(found.positions >= WINDOW && found.positions <= WINDOW * found.sequences.max(1));
        if found.positions > WINDOW {
            prop_assert!(fits(&model, &devices(gib), found));
            prop_assert!(found.positions >= 256 * found.sequences || found.sequences == 8);
        }
    }
}
