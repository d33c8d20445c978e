//! Steps of a simulated model with known times and acceptance.

use proptest::prelude::*;

use super::*;

/// Simulates steps of one sequence whose matches have `match_len` tokens. `accepted` returns how
/// many drafts of a step are accepted, and `cost` the seconds of a step by its number of rows.
/// Returns the seconds of `steps` relative to those of plain decoding of as many tokens.
fn relative_time(
    steps: usize,
    match_len: usize,
    mut accepted: impl FnMut(usize) -> usize,
    cost: impl Fn(usize) -> f64,
) -> f64 {
    let mut speculator = Speculator::new(Speculation::Auto);
    let mut acceptance = Acceptance::default();
    let (mut seconds, mut tokens) = (0.0, 0);
    for _ in 0..steps {
        let proposal = Proposal {
            most: Speculation::MAX_DRAFTS,
            probability: acceptance.probability(match_len),
        };
        let drafts = speculator.choose(&[Some(proposal)]);
        let kept = accepted(drafts).min(drafts);
        if drafts > 0 {
            acceptance.record(match_len, drafts, kept);
        }
        let time = cost(1 + drafts);
        speculator.record(1, 1 + drafts, 1 + kept, Duration::from_secs_f64(time));
        seconds += time;
        tokens += 1 + kept;
    }
    seconds / (tokens as f64 * cost(1))
}

/// A GPU: eight rows cost little more than one.
fn flat(rows: usize) -> f64 {
    1e-3 * (1.0 + 0.01 * (rows - 1) as f64)
}

/// A CPU that computes each row.
fn linear(rows: usize) -> f64 {
    1e-3 * (1.0 + 0.6 * (rows - 1) as f64)
}

#[test]
fn drafts_that_are_accepted_multiply_the_speed() {
    // Nine of ten drafts are accepted: 5.7 tokens per step of eight rows.
    let mut number = 0;
    let mut mostly = |drafts: usize| {
        let start = number;
        number += 1 + drafts;
        (start..start + drafts)
            .position(|n| n % 10 == 9)
            .unwrap_or(drafts)
    };
    let time = relative_time(1000, 12, &mut mostly, flat);
    assert!(time < 1.0 / 4.0, "{time}");
    let time = relative_time(1000, 12, |drafts| drafts, linear);
    assert!(time < 0.7, "{time}");
}

#[test]
fn drafts_that_are_rejected_cost_at_most_two_per_cent() {
    for cost in [flat, linear] {
        for match_len in [1, 2, 4, 8, 32] {
            let time = relative_time(500, match_len, |_| 0, cost);
            assert!(time < 1.0 / 0.98, "{match_len}: {time}");
        }
    }
}

#[test]
fn drafts_are_found_to_pay_after_a_long_text_without_repetition() {
    let mut step = 0;
    let time = relative_time(
        4000,
        8,
        |drafts| {
            step += 1;
            if step < 2000 { 0 } else { drafts }
        },
        flat,
    );
    // The second half takes an eighth of the steps of plain decoding.
    assert!(time < 0.4, "{time}");
}

#[test]
fn a_fixed_number_of_drafts_is_used_within_the_rows() {
    let speculator = Speculator::new(Speculation::Drafts(5));
    let proposal = Some(Proposal {
        most: 7,
        probability: 0.0,
    });
    let of = |sequences: usize| speculator.choose(&vec![proposal; sequences]);
    assert_eq!([1, 2, 3, 4, 5, 9].map(of), [5, 3, 1, 1, 0, 0]);
    assert_eq!(speculator.choose(&[None, None]), 0);
    assert_eq!(Speculator::new(Speculation::Off).choose(&[proposal]), 0);
}

proptest! {
    /// Whatever is accepted and whatever a step costs, the time is at most one per cent and the
    /// first losses above that of plain decoding.
    #[test]
    fn the_worst_case_is_bounded(
        accepted in prop::collection::vec(0usize..8, 64),
        slope in 0.0..1.0f64,
        match_len in 1usize..40,
    ) {
        let mut step = 0;
        let accept = |_| {
            step += 1;
            accepted[step * step % accepted.len()]
        };
        let cost = |rows: usize| 1e-3 * (1.0 + slope * (rows - 1) as f64);
        let steps = 1000;
        let time = relative_time(steps, match_len, accept, cost);
        prop_assert!(time < 1.015, "{}", time);
    }

    #[test]
    fn the_rows_of_a_step_are_bounded(
        most in prop::collection::vec(prop::option::of(1usize..8), 1..12),
        drafts in 1usize..8,
    ) {
        let propose = |most: &Option<usize>| most.map(|most| Proposal { most, probability: 0.5 });
        let proposals: Vec<_> = most.iter().map(propose).collect();
        let chosen = Speculator::new(Speculation::Drafts(drafts)).choose(&proposals);
        prop_assert!(chosen <= drafts);
        prop_assert!(chosen == 0 || most.len() * (1 + chosen) <= MAX_ROWS);
    }
}
