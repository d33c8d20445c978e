//! Compares every GPU kernel with the CPU's, on GPU 0. Without a GPU, the comparison is skipped
//! with a note.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use moss_bench::parity::{ParityHarness, cases};
use moss_cuda::{Gpu, gpu_count};

#[test]
fn every_kernel_agrees_with_the_cpu_and_is_bit_identical_in_every_run() {
    if gpu_count().unwrap_or(0) == 0 {
        eprintln!("skipped: no GPU found");
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
fn every_kernel_family_has_cases_with_the_published_shapes() {
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
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
