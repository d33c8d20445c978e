use std::time::{Duration, Instant};

use moss_model::{LoadOptions, MossConfig, RandomWeights, WeightFormat};

use super::*;

/// A network that runs in microseconds.
fn tiny() -> MossConfig {
    MossConfig {
        vocab_size: 300,
        hidden_size: 64,
        inner_size: 256,
        num_layers: 2,
        num_heads: 4,
        head_dim: 16,
        rotary_dim: 8,
        context_length: 64,
        ..MossConfig::moon_003()
    }
}

fn load(sequences: usize, positions: usize) -> Moss {
    let blocks = crate::concurrency::cache_positions(sequences, positions);
    let source = RandomWeights::new(tiny(), WeightFormat::F16);
    Moss::load(&source, &LoadOptions::cpu(blocks), &mut |_| {}).unwrap()
}

#[test]
fn every_size_is_measured_at_its_context_and_with_the_bytes_of_its_caches() {
    let (prompt, steps, sizes) = (20, 4, [1, 2, 3, 8]);
    let model = load(8, positions(prompt, steps));
    let (weights, per_position) = (
        model.weight_bytes_per_token() as f64,
        model.cache_bytes_per_position() as f64,
    );
    let sampling = SamplingParams::CHAT;
    let times = measure(model, &sizes, (prompt, steps), &sampling, 1).unwrap();
    let found: Vec<_> = times.iter().map(|time| time.sequences).collect();
    assert_eq!(found, sizes);
    for time in times {
        // The sequences grow from the same prompts in every size.
        let longest = positions(prompt, steps) as f64;
        assert!(time.steps >= steps && time.step_s > 0.0, "{time:?}");
        assert!(
            time.context > prompt as f64 && time.context < longest,
            "{time:?}"
        );
        assert_eq!(time.bytes.weights, weights);
        let cache = time.context * time.sequences as f64 * per_position;
        assert!((time.bytes.cache / cache - 1.0).abs() < 1e-9, "{time:?}");
    }
}

#[test]
fn sequences_that_do_not_fit_the_cache_together_are_an_error() {
    let (prompt, steps) = (20, 4);
    let model = load(2, positions(prompt, steps));
    let found = measure(model, &[1, 3], (prompt, steps), &SamplingParams::CHAT, 1);
    assert!(
        matches!(found, Err(BenchError::NothingMeasured)),
        "{found:?}"
    );
}

#[test]
fn only_steps_of_all_sequences_that_are_followed_by_one_count() {
    let start = Instant::now();
    let pass = |ms, sequences, is_decode| Pass {
        began: start + Duration::from_millis(ms),
        sequences,
        positions: 10 * sequences,
        is_decode,
    };
    let passes = [
        pass(0, 1, false),
        pass(10, 2, false),
        pass(20, 2, true),
        pass(23, 2, true),
        pass(27, 2, true),
        pass(40, 1, true),
        pass(50, 1, true),
    ];
    let found = full_steps(&passes, 2);
    let ms: Vec<_> = found
        .iter()
        .map(|step| (step.seconds * 1e3).round() as u32)
        .collect();
    assert_eq!(ms, [3, 4]);
    assert!(found.iter().all(|step| step.positions == 20));
}
