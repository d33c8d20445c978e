//! Replies and prompts in simulated time, on machines of different speeds.

use super::*;
use crate::scheduler::{Pending, plan, prompts, reply_rows};

/// The costs of a machine.
struct Machine {
    /// Seconds of a step by its rows.
    decode: fn(usize) -> f64,
    /// Seconds of prompt tokens.
    prefill: fn(usize) -> f64,
    limits: ChunkLimits,
}

/// Measured on one H200, int4 (lab notebook, "Decode steps and concurrent requests on one H200" and
/// "Transposed GEMM of prompts on one H200").
const FAST_GPU: Machine = Machine {
    decode: |rows| {
        between(
            &[
                (1, 2.9),
                (8, 3.4),
                (16, 5.6),
                (32, 7.7),
                (64, 11.4),
                (128, 21.2),
            ],
            rows,
        )
    },
    prefill: |tokens| {
        let points = [
            (16, 4.2),
            (32, 4.6),
            (64, 5.8),
            (128, 8.4),
            (256, 14.3),
            (512, 27.1),
        ];
        between(&points, tokens)
    },
    limits: ChunkLimits {
        most: 512,
        tile: 64,
    },
};

/// The same in fp16.
const FAST_GPU_F16: Machine = Machine {
    decode: |rows| {
        between(
            &[
                (1, 7.9),
                (8, 8.3),
                (16, 9.7),
                (32, 11.5),
                (64, 13.9),
                (128, 25.0),
            ],
            rows,
        )
    },
    prefill: |tokens| {
        let points = [
            (16, 8.4),
            (32, 8.6),
            (64, 9.0),
            (128, 10.8),
            (256, 16.8),
            (512, 28.3),
        ];
        between(&points, tokens)
    },
    ..FAST_GPU
};

/// Returns the seconds at `x` on the line through `points` (with milliseconds), which is constant
/// before the first one.
fn between(points: &[(usize, f64)], x: usize) -> f64 {
    let right = points.iter().position(|point| x <= point.0);
    let (from, to) = match right {
        Some(0) => (points[0], points[0]),
        Some(right) => (points[right - 1], points[right]),
        None => (points[points.len() - 2], points[points.len() - 1]),
    };
    let slope = (to.1 - from.1) / to.0.saturating_sub(from.0).max(1) as f64;
    (from.1 + slope * (x as f64 - from.0 as f64)) / 1e3
}

/// Two cores, true-size int4: a step takes 250 ms, 500 prompt tokens take 61 s. A chunk of any size
/// reads all weights.
const SLOW_CPU: Machine = Machine {
    decode: |rows| 0.25 + 0.02 * (rows - 1) as f64,
    prefill: |tokens| (0.122 * tokens as f64).max(0.25),
    limits: ChunkLimits { most: 256, tile: 4 },
};

/// The times of a prompt that arrives while replies run.
struct Arrival {
    /// The longest step, relative to one without a prompt.
    gap: f64,
    /// Seconds until the prompt is complete, relative to the prompt alone.
    slowdown: f64,
}

struct Simulation {
    machine: Machine,
    cost: StepCost,
    seed: u64,
    /// Slowdown of the machine: of replies and of prompts.
    slower: (f64, f64),
}

impl Simulation {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            cost: StepCost::default(),
            seed: 1,
            slower: (1.0, 1.0),
        }
    }

    /// Returns a factor of 0.95 to 1.05, and 3 for one of 100 steps.
    fn noise(&mut self) -> f64 {
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let random = (z >> 33) as f64 / f64::from(1_u32 << 31);
        if random < 0.01 {
            3.0
        } else {
            0.95 + 0.1 * random
        }
    }

    fn seconds(&self, rows: usize, tokens: usize) -> f64 {
        let decode = if rows > 0 {
            (self.machine.decode)(rows)
        } else {
            0.0
        };
        let prefill = if tokens > 0 {
            (self.machine.prefill)(tokens)
        } else {
            0.0
        };
        decode * self.slower.0 + prefill * self.slower.1
    }

    /// Runs one step, and returns its seconds without noise.
    fn step(&mut self, pending: &mut [Pending]) -> f64 {
        let (rows, prompts) = (reply_rows(pending), prompts(pending));
        let budget = self.cost.prompt_tokens(rows, prompts, self.machine.limits);
        let mut tokens = 0;
        for chunk in plan(pending, budget) {
            if let Pending::Prompt(left) = &mut pending[chunk.sequence] {
                tokens += chunk.tokens;
                *left -= chunk.tokens;
            }
        }
        let seconds = self.seconds(rows, tokens);
        let measured = seconds * self.noise();
        self.cost.record(rows, tokens, measured);
        seconds
    }

    /// Runs a prompt alone, and returns its seconds.
    fn alone(&mut self, prompt: usize) -> f64 {
        let mut pending = [Pending::Prompt(prompt)];
        let mut seconds = 0.0;
        while pending != [Pending::Prompt(0)] {
            seconds += self.step(&mut pending);
        }
        seconds
    }

    /// Runs `rows` replies for some steps, then a prompt arrives.
    fn arrival(&mut self, rows: usize, prompt: usize) -> Arrival {
        let mut pending = vec![Pending::Reply(1); rows];
        for _ in 0..10 {
            self.step(&mut pending);
        }
        pending.push(Pending::Prompt(prompt));
        let (mut longest, mut seconds) = (0.0_f64, 0.0);
        while pending[rows] != Pending::Prompt(0) {
            let step = self.step(&mut pending);
            longest = longest.max(step);
            seconds += step;
        }
        let alone = (0..prompt.div_ceil(self.machine.limits.most)).map(|chunk| {
            let most = self.machine.limits.most;
            self.seconds(0, (prompt - chunk * most).min(most))
        });
        Arrival {
            gap: longest / self.seconds(rows, 0),
            slowdown: seconds / alone.sum::<f64>(),
        }
    }

    #[track_caller]
    fn expect(&mut self, rows: usize, prompt: usize, gap: f64, slowdown: f64) {
        let found = self.arrival(rows, prompt);
        assert!(found.gap <= gap, "gap {} at {rows} rows", found.gap);
        assert!(
            found.slowdown <= slowdown,
            "slowdown {} at {rows} rows",
            found.slowdown
        );
    }
}

#[test]
fn a_fast_gpu_bounds_gaps_and_first_tokens() {
    for machine in [FAST_GPU, FAST_GPU_F16] {
        let mut simulation = Simulation::new(machine);
        simulation.alone(1900);
        for _ in 0..20 {
            simulation.expect(8, 1900, 3.0, 2.6); // also before chunks of this size are measured
        }
        for rows in [1, 3, 16, 32, 64, 128, 200] {
            simulation.expect(rows, 1900, LONGEST, 2.7);
        }
    }
}

#[test]
fn on_a_slow_cpu_replies_continue_within_a_second() {
    let mut simulation = Simulation::new(SLOW_CPU);
    simulation.alone(343);
    for rows in [1, 8, 1, 8] {
        for _ in 0..5 {
            simulation.expect(rows, 500, LONGEST, 2.5);
        }
    }
}

#[test]
fn a_machine_that_becomes_slower_or_faster_keeps_the_bounds() {
    for machine in [FAST_GPU, SLOW_CPU] {
        let mut simulation = Simulation::new(machine);
        simulation.alone(1000);
        simulation.expect(8, 1000, 1.1 * LONGEST, 2.8);
        for slower in [(4.0, 4.0), (1.0, 1.0), (0.25, 0.25), (1.0, 0.5), (1.0, 1.0)] {
            simulation.slower = slower;
            for _ in 0..2 {
                simulation.arrival(8, 1000); // the change is noticed
            }
            for _ in 0..3 {
                simulation.expect(8, 1000, 1.1 * LONGEST, 2.8);
            }
        }
    }
}

#[test]
fn a_change_of_speed_is_followed_within_a_few_steps() {
    let mut simulation = Simulation::new(SLOW_CPU);
    simulation.alone(1000);
    simulation.arrival(8, 1000);
    simulation.slower = (4.0, 4.0);
    let mut pending = vec![Pending::Reply(1); 8];
    pending.push(Pending::Prompt(1000));
    let alone = simulation.seconds(8, 0);
    let gaps: Vec<f64> = (0..40)
        .map(|_| simulation.step(&mut pending) / alone)
        .collect();
    assert!(gaps[..8].iter().all(|gap| *gap < 2.0 * LONGEST), "{gaps:?}");
    assert!(gaps[8..].iter().all(|gap| *gap < LONGEST), "{gaps:?}");
    let Pending::Prompt(left) = pending[8] else {
        unreachable!("the last one is the prompt")
    };
    assert!(left < 1000 - 2 * 40, "{left} tokens left");
}
