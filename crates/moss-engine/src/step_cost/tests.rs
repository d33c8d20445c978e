use proptest::prelude::*;

use super::*;

const LIMITS: ChunkLimits = ChunkLimits {
    most: 512,
    tile: 16,
};

/// Returns measurements of decode steps of `decode` seconds for 8 rows, and of prompts.
fn measured(decode: f64, prompts: &[(usize, f64)]) -> StepCost {
    let mut cost = StepCost::default();
    for _ in 0..SAMPLES {
        cost.record(8, 0, decode);
        for (tokens, seconds) in prompts {
            cost.record(0, *tokens, *seconds);
        }
    }
    cost
}

#[test]
fn costs_are_linear_between_measured_numbers_and_proportional_beyond() {
    let cost = measured(1.0, &[(64, 8.0), (128, 10.0)]);
    let at = |tokens| cost.prefill_s(tokens);
    assert_eq!((at(64), at(96)), (Some(8.0), Some(9.0)));
    assert_eq!((at(128), at(256)), (Some(10.0), Some(20.0)));
    assert_eq!(StepCost::default().prefill_s(1), None);
}

#[test]
fn a_small_chunk_costs_at_least_as_much_as_a_step_of_few_replies() {
    let at = |decode, tokens| measured(decode, &[(64, 8.0)]).prefill_s(tokens);
    assert_eq!((at(2.0, 0), at(2.0, 32)), (Some(2.0), Some(5.0)));
    assert_eq!(at(9.0, 1), Some(8.0));
    let mut cost = StepCost::default();
    cost.record(0, 64, 8.0);
    assert_eq!(cost.prefill_s(32), Some(4.0), "no step of replies yet");
}

#[test]
fn two_slow_steps_of_five_change_nothing_and_three_do() {
    let mut cost = measured(5.0, &[(64, 8.0)]);
    for _ in 0..2 {
        cost.record(8, 0, 500.0);
        cost.record(0, 64, 15.0);
    }
    let at = |cost: &StepCost| (cost.decode_s(8), cost.prefill_s(64));
    assert_eq!(at(&cost), (Some(5.0), Some(8.0)));
    cost.record(7, 0, 15.0);
    cost.record(0, 64, 15.0);
    assert_eq!(at(&cost), (Some(15.0), Some(15.0)));
}

#[test]
fn two_chunks_of_another_speed_scale_all_sizes_and_measure_replies_again() {
    let mut cost = measured(5.0, &[(64, 8.0), (512, 40.0)]);
    cost.record(8, 64, 5.0 + 24.0);
    assert_eq!((cost.decode_s(8), cost.prefill_s(64)), (None, Some(8.0)));
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 0);
    for _ in 0..2 {
        cost.record(8, 0, 15.0);
    }
    cost.record(8, 64, 15.0 + 24.0);
    assert_eq!(cost.prefill_s(512), Some(120.0));
    assert_eq!(cost.decode_s(8), Some(15.0));
}

#[test]
fn one_chunk_of_another_speed_scales_nothing() {
    let mut cost = measured(5.0, &[(64, 8.0), (512, 40.0)]);
    for seconds in [800.0, 8.0, 800.0, 8.0] {
        cost.record(0, 64, seconds);
    }
    assert_eq!(
        (cost.prefill_s(64), cost.prefill_s(512)),
        (Some(8.0), Some(40.0))
    );
}

#[test]
fn the_first_of_two_measurements_may_be_slow() {
    let mut cost = StepCost::default();
    cost.record(1, 0, 500.0); // captures a CUDA graph
    cost.record(1, 0, 5.0);
    assert_eq!(cost.decode_s(1), Some(5.0));
}

#[test]
fn a_number_of_rows_without_a_measurement_has_that_of_the_next_smaller_one() {
    let mut cost = StepCost::default();
    cost.record(16, 0, 7.0);
    assert_eq!(cost.decode_s(2), Some(7.0));
    cost.record(1, 0, 3.0);
    assert_eq!((cost.decode_s(8), cost.decode_s(9)), (Some(3.0), Some(7.0)));
    assert_eq!(cost.decode_s(4096), Some(7.0));
}

#[test]
fn generated_tokens_are_measured_alone_first_and_again_later() {
    let mut cost = measured(5.0, &[(64, 5.0)]);
    assert_eq!(cost.prompt_tokens(1, (1, 400), LIMITS), 0);
    assert!(cost.prompt_tokens(8, (1, 400), LIMITS) > 0);
    for _ in 0..DECODE_AGE {
        assert!(cost.prompt_tokens(8, (1, 400), LIMITS) > 0);
        cost.record(8, 64, 10.0);
    }
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 0);
    cost.record(8, 0, 5.0);
    assert!(cost.prompt_tokens(8, (1, 400), LIMITS) > 0);
}

#[test]
fn a_step_takes_two_and_a_half_times_its_replies() {
    // 0.1 s per prompt token: 75 of them take 7.5 s, rounded down to blocks.
    let cost = measured(5.0, &[(64, 6.4), (512, 51.2)]);
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 64);
    let slow = measured(0.25, &[(512, 62.0)]);
    let limits = ChunkLimits { tile: 2, ..LIMITS };
    assert_eq!(slow.prompt_tokens(8, (1, 400), limits), 2);
}

#[test]
fn a_chunk_is_not_smaller_than_the_device_can_use() {
    // Any chunk takes at least 8 s, and a large one 15 tokens per second.
    let cost = measured(5.0, &[(16, 8.0), (64, 9.0), (128, 10.0), (512, 34.0)]);
    let tokens = cost.prompt_tokens(8, (1, 400), LIMITS);
    let step = 5.0 + cost.prefill_s(tokens).unwrap_or_default();
    assert!(step < LONGEST * 5.0, "{tokens} tokens take {step} s");
    assert!(
        tokens as f64 / step > 15.0 / SLOWDOWN,
        "{tokens} tokens take {step} s"
    );
}

#[test]
fn without_replies_the_first_prompt_is_not_delayed_by_more_than_the_factor() {
    let cost = measured(5.0, &[(16, 1.6), (512, 51.2)]);
    let tokens = |first| cost.prompt_tokens(0, (1, first), LIMITS);
    assert_eq!((tokens(600), tokens(512), tokens(40)), (512, 512, 100));
    assert_eq!(StepCost::default().prompt_tokens(0, (1, 40), LIMITS), 40);
}

#[test]
fn before_any_measurement_chunks_are_small_and_grow() {
    let mut cost = StepCost::default();
    for _ in 0..2 {
        cost.record(8, 0, 5.0);
    }
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 16);
    cost.record(8, 16, 5.1);
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 64);
    cost.record(8, 64, 5.4);
    assert_eq!(cost.prompt_tokens(8, (1, 400), LIMITS), 256);
}

proptest! {
    #[test]
    fn prompts_always_continue_and_limits_hold(
        steps in prop::collection::vec((0usize..300, 0usize..2100, 0.0f64..10.0), 0..200),
        rows in 0usize..300, first in 1usize..2000, most in 1usize..2100, tile in 1usize..100,
    ) {
        let mut cost = StepCost::default();
        for (rows, tokens, seconds) in steps {
            cost.record(rows, tokens, seconds);
        }
        let limits = ChunkLimits { most, tile };
        for _ in 0..2 {
            let tokens = cost.prompt_tokens(rows, (1, first), limits);
            prop_assert!(tokens <= most);
            if tokens > 0 {
                return Ok(());
            }
            cost.record(rows, 0, 1.0);
        }
        let tokens = cost.prompt_tokens(rows, (1, first), limits);
        prop_assert!(tokens >= tile.min(most) && tokens <= most, "{}", tokens);
    }

    #[test]
    fn predictions_do_not_decrease(
        steps in prop::collection::vec((1usize..2100, 0.0f64..10.0), 1..50),
        a in 1usize..3000, b in 1usize..3000,
    ) {
        let mut cost = StepCost::default();
        for (tokens, seconds) in steps {
            cost.record(0, tokens, seconds);
        }
        prop_assert!(cost.prefill_s(a.min(b)) <= cost.prefill_s(a.max(b)));
    }
}
