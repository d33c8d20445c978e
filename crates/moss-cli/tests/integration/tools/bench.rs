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

#[test]
fn bench_batch_measures_every_size_and_lists_cliffs() {
    let out = ok(
        &[
            "bench",
            "--demo",
            "--batch",
            "4,1-2",
            "--prompt",
            "16",
            "--new",
            "3",
            "--json",
            "--threads",
            "1",
        ],
        "",
    );
    let found: Value = serde_json::from_str(&out).unwrap();
    let bandwidth = found["bandwidth"].as_f64().unwrap();
    let batches = found["batches"].as_array().unwrap();
    let sizes: Vec<_> = batches
        .iter()
        .map(|batch| batch["sequences"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [1, 2, 4]);
    for batch in batches {
        let number = |name: &str| batch[name].as_f64().unwrap();
        assert!(number("steps") >= 3.0, "{batch}");
        // The context grows from the prompt, by the steps and 16 further tokens.
        assert!(
            number("context") > 16.0 && number("context") < 35.0,
            "{batch}"
        );
        let floor = (number("weight_bytes") + number("cache_bytes")) / bandwidth;
        assert!((number("floor_s") / floor - 1.0).abs() < 1e-9, "{batch}");
        let share = floor / number("step_s");
        assert!((number("share") / share - 1.0).abs() < 1e-9, "{batch}");
    }
    // Each size has the cache of its sequences, and the weights once.
    let cache = |index: usize| batches[index]["cache_bytes"].as_f64().unwrap();
    assert!(cache(2) > 3.5 * cache(0) && cache(2) < 4.5 * cache(0));
    assert_eq!(batches[0]["weight_bytes"], batches[2]["weight_bytes"]);
    for cliff in found["cliffs"].as_array().unwrap() {
        assert!(cliff["ratio"].as_f64().unwrap() > 1.05, "{cliff}");
    }
    assert!(found["batch_limit"].is_null());
}

#[test]
fn bench_batch_prints_a_table_in_both_languages() {
    for (language, lines) in [("en", ["sequences", "cliff: "]), ("zh", ["序列数", "断崖"])] {
        let out = ok(
            &[
                "bench", "--demo", "--batch", "1,2", "--prompt", "4", "--new", "1", "--lang",
                language,
            ],
            "",
        );
        for line in lines {
            assert!(out.contains(line), "{line}: {out}");
        }
    }
}

#[test]
fn bench_batch_refuses_sizes_that_are_not_from_1_to_256() {
    for (sizes, expected) in [
        ("0", "expected a whole number from 1 to 256"),
        ("1,257", "expected a whole number from 1 to 256"),
        ("1-300", "expected a whole number from 1 to 256"),
        ("4-x", "expected a whole number from 1 to 256"),
        ("8-4", "begins with 8 and ends with 4"),
    ] {
        let out = run(&["bench", "--demo", "--batch", sizes], "");
        let error = text(&out.stderr);
        assert!(
            out.status.code() == Some(2) && error.contains(expected),
            "{sizes}: {error}"
        );
    }
    let out = run(&["bench", "--demo", "--batch", "8-4", "--lang", "zh"], "");
    let error = text(&out.stderr);
    assert!(
        out.status.code() == Some(2) && error.contains("范围从 8 到 4"),
        "{error}"
    );
    for other in [
        &["--clients", "2"][..],
        &["--kernels"],
        &["--rows", "8"],
        &["--timeline"],
    ] {
        let args = [&["bench", "--demo", "--batch", "1"], other].concat();
        let out = run(&args, "");
        assert_eq!(out.status.code(), Some(2), "{other:?}");
    }
}

#[test]
fn bench_batch_refuses_steps_that_the_window_cannot_hold() {
    let out = run(
        &[
            "bench", "--demo", "--batch", "1", "--prompt", "2040", "--new", "6",
        ],
        "",
    );
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("context length 2048"));
}

#[test]
fn bench_clients_reports_quantiles_of_both_latencies_for_many_requests() {
    let out = ok(
        &[
            "bench",
            "--demo",
            "--clients",
            "1,40",
            "--prompt",
            "8",
            "--new",
            "3",
            "--json",
        ],
        "",
    );
    let found: Value = serde_json::from_str(&out).unwrap();
    let measured = found["clients"].as_array().unwrap();
    assert_eq!(measured.len(), 2);
    for (clients, expected) in measured.iter().zip([1, 40]) {
        assert_eq!(clients["clients"], expected);
        for latency in ["first_token_quantiles_s", "token_quantiles_s"] {
            let of = |name: &str| clients[latency][name].as_f64().unwrap();
            let ascending = ["p50", "p90", "p99", "max"].map(of);
            assert!(ascending[0] > 0.0 && ascending.is_sorted(), "{clients}");
        }
    }
}

#[test]
fn bench_arrival_reports_the_largest_gap_of_running_streams() {
    let args = ["bench", "--demo", "--clients", "2", "--arrival", "600"];
    let found: Value = serde_json::from_str(&ok(
        &[&args[..], &["--prompt", "8", "--new", "3", "--json"]].concat(),
        "",
    ))
    .unwrap();
    let arrival = &found["clients"][0]["arrival"];
    let of = |name: &str| arrival[name].as_f64().unwrap();
    assert_eq!(arrival["prompt"], 600);
    assert!(of("median_gap_s") > 0.0 && of("first_token_s") > 0.0);
    assert!(of("gap_ratio") > 1.0, "the largest gap of all: {arrival}");
    // The prompt does not run in one step while streams run.
    assert!(of("largest_gap_s") < of("first_token_s"), "{arrival}");
    let out = run(&["bench", "--demo", "--arrival", "600"], "");
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("--clients"));
}
