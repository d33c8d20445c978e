//! `bench`.

use serde_json::Value;

use crate::support::{ok, run, text};

#[test]
fn bench_measures_against_the_machines_own_bandwidth() {
    let out = ok(
        &[
            "bench",
            "--demo",
            "--prompt",
            "32",
            "--new",
            "4",
            "--json",
            "--threads",
            "1",
        ],
        "",
    );
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(
        found["contexts"][0]["share"].as_f64().unwrap() > 0.0
            && found["bandwidth"].as_f64().unwrap() > 1e8
    );
    let out = ok(
        &[
            "bench",
            "--demo",
            "--gpu",
            "cpu,cpu",
            "--layers-per-gpu",
            "4,4",
            "--prompt",
            "16,32",
            "--new",
            "2",
        ],
        "",
    );
    assert!(out.contains("stage 1  CPU, layers 4 to 7"), "{out}");
}

#[test]
fn bench_refuses_what_the_window_cannot_hold() {
    let out = run(&["bench", "--demo", "--prompt", "2040", "--new", "9"], "");
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("context length 2048"));
}

#[test]
fn bench_refuses_more_layers_than_memory_can_hold_before_allocating() {
    for layers in ["0", "1001", "99999999999", "99999999999999999999"] {
        let out = run(&["bench", "--random-weights", "--layers", layers], "");
        let error = text(&out.stderr);
        assert!(
            out.status.code() == Some(2)
                && error.contains("expected a whole number from 1 to 1000"),
            "{error}"
        );
    }
}

#[test]
fn bench_refuses_weights_that_this_machine_cannot_hold_and_says_how_many_layers_it_can() {
    let out = run(
        &[
            "bench",
            "--random-weights",
            "--format",
            "fp16",
            "--layers",
            "1000",
            "--gpu",
            "cpu",
        ],
        "",
    );
    let error = text(&out.stderr);
    assert!(
        out.status.code() == Some(1) && error.contains("the weights of 1000 layers need 90"),
        "{error}"
    );
    assert!(error.contains("use fewer: `--layers "), "{error}");
}
