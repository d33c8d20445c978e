//! Every GPU kernel against the CPU's, on GPU 0. Without a GPU there is nothing to compare, and the
//! test says so.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use moss_bench::parity::{ParityHarness, cases};
use moss_cuda::{Gpu, gpu_count};

#[test]
fn every_kernel_gives_what_the_cpu_gives_and_the_same_bits_every_time() {
    if gpu_count().unwrap_or(0) == 0 {
        eprintln!("skipped: the driver shows no GPU");
        return;
    }
    let gpu = Gpu::open(0, None).unwrap();
    let harness = ParityHarness::new(&gpu).unwrap();
    let reports: Vec<_> = cases()
        .iter()
        .map(|case| harness.check(case).unwrap())
        .collect();
    for report in &reports {
        eprintln!("{report:?}"); // with --nocapture
    }
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} cases: {failed:#?}",
        failed.len(),
        reports.len()
    );
}

#[test]
fn every_family_of_kernels_is_compared_at_the_published_shapes_too() {
    let cases = cases();
    for kernel in [
        "layer_norm",
        "embedding",
        "add_bias",
        "linear_f16",
        "linear_int8",
        "linear_int4",
        "attention_decode",
        "attention_prefill",
        "repack, dequantize",
        "dequantize, cuBLAS",
        "heads_and_inner",
    ] {
        let published = |shape: &str| {
            ["6144", "moon", "24 heads of 256"]
                .iter()
                .any(|size| shape.contains(size))
        };
        let mine: Vec<_> = cases
            .iter()
            .filter(|case| case.kernel() == kernel)
            .collect();
        assert!(mine.len() >= 4, "{kernel}");
        assert!(
            kernel == "repack, dequantize" || mine.iter().any(|case| published(case.shape())),
            "{kernel}"
        );
    }
}

#[test]
fn no_case_is_listed_twice() {
    let mut names: Vec<_> = cases().iter().map(|case| format!("{case:?}")).collect();
    let listed = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), listed);
}
