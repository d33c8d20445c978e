//! `verify`.

use crate::support::{fixture, ok, run, text};

#[test]
fn verify_passes_every_fixture_and_fails_a_wrong_one() {
    for name in [
        "tiny-fp16-bin",
        "tiny-int4",
        "mini-fp16-safetensors",
        "mini-int4-act-order",
        "mini-int8",
        "mini-int8-act-order",
        "wide-int4",
    ] {
        let out = ok(&["verify", &fixture(name)], "");
        assert!(
            out.lines().count() >= 7 && !out.contains("FAIL"),
            "{name}: {out}"
        );
    }
    ok(
        &["verify", &fixture("wide-int4"), "--rope-precision", "f16"],
        "",
    );
    let named = ok(&["verify", &fixture("tiny-fp16-safetensors")], "");
    assert!(
        !named.contains("FAIL"),
        "expected.txt names the folder with the values: {named}"
    );
    let wrong = run(
        &[
            "verify",
            &fixture("mini-int8"),
            "--expected",
            &fixture("mini-int8-act-order"),
        ],
        "",
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stdout).contains("FAIL"));
}

#[test]
fn a_cache_of_8_bits_is_measured() {
    for dtype in ["f32", "f16"] {
        let out = ok(
            &[
                "verify",
                &fixture("tiny-int4"),
                "--kv-cache",
                "int8",
                "--dtype",
                dtype,
            ],
            "",
        );
        assert!(
            !out.contains("FAIL") && !out.contains("greedy paths"),
            "{out}"
        );
    }
}

#[test]
fn activations_of_8_bits_are_measured_and_refused_by_name() {
    let out = ok(
        &["verify", &fixture("tiny-int4"), "--activations", "int8"],
        "",
    );
    assert!(
        !out.contains("FAIL") && !out.contains("greedy paths"),
        "{out}"
    );
    for (args, says) in [
        (["tiny-int4", "--dtype", "f32"], "F32"),
        (["tiny-fp16-bin", "--dtype", "f16"], "F16"),
    ] {
        let [name, dtype, value] = args;
        let refused = run(
            &[
                "verify",
                &fixture(name),
                dtype,
                value,
                "--activations",
                "int8",
            ],
            "",
        );
        let error = text(&refused.stderr);
        assert!(
            !refused.status.success() && error.contains(says) && error.contains("hint:"),
            "{error}"
        );
    }
}
