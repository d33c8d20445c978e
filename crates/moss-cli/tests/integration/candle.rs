//! `--engine candle` and `verify --reference`.

use crate::support::{fixture, ok, run, text};

/// Runs a command that must fail, and returns its status and error.
fn fails(args: &[&str]) -> (i32, String) {
    let out = run(args, "");
    assert!(!out.status.success(), "{args:?}");
    (out.status.code().unwrap(), text(&out.stderr))
}

#[test]
fn both_engines_chat_alike() {
    let questions = "What is 3 + 4?\n你好\n推荐五部科幻电影\n";
    for demo in ["--demo=int4", "--demo=fp16"] {
        let chat = |engine| ok(&[demo, "--temperature", "0", "--engine", engine], questions);
        let native = chat("native");
        assert!(native.contains("3 + 4 = 7."), "{native}");
        assert_eq!(chat("candle"), native, "{demo}");
    }
}

#[test]
fn both_engines_generate_with_layers_on_two_devices() {
    let args = [
        "--demo", "--engine", "candle", "--gpu", "cpu,cpu", "--dtype", "f16",
    ];
    let answer = ok(&[&args[..], &["generate", "What is 3 + 4?"]].concat(), "");
    assert_eq!(answer.trim(), "3 + 4 = 7.");
}

#[test]
fn logits_and_perplexity_of_the_engines_agree() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    std::fs::write(&file, "What is 3 + 4? 3 + 4 = 7. 你好，很高兴见到你。").unwrap();
    let (file, out) = (file.display().to_string(), folder.path().join("logits"));
    let perplexity = |engine| {
        let out = ok(
            &[
                "--demo",
                "--engine",
                engine,
                "eval",
                "--perplexity",
                &file,
                "--json",
            ],
            "",
        );
        let out: serde_json::Value = serde_json::from_str(&out).unwrap();
        out["model"]["mean_loss"].as_f64().unwrap()
    };
    let (native, candle) = (perplexity("native"), perplexity("candle"));
    assert!((native - candle).abs() < 1e-4, "{native} {candle}");
    let logits = |engine: &str| {
        let out = out.with_extension(engine).display().to_string();
        ok(
            &[
                "--demo", "--engine", engine, "logits", "--ids", "5,6,7", "--out", &out,
            ],
            "",
        );
        let bytes = std::fs::read(out).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let logits = tensors.tensor("logits").unwrap();
        let values = logits.data().chunks_exact(4);
        values
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    let (native, candle) = (logits("native"), logits("candle"));
    assert!(native.len() > 3000 && native.len() == candle.len());
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
    assert!(native.iter().zip(&candle).all(close));
}

#[test]
fn verify_compares_the_engines() {
    for dtype in ["f32", "f16", "bf16"] {
        let out = ok(&["--demo", "--dtype", dtype, "verify", "--reference"], "");
        assert_eq!(out.matches("PASS").count(), 2, "{out}");
    }
    // Without a tokenizer, prompts are token ids.
    let act_order = fixture("mini-int8-act-order");
    let out = ok(&["verify", "--reference", &act_order, "--lang", "zh"], "");
    assert!(out.contains("48 个位置中 48 个一致"), "{out}");
    let out = run(&["--demo", "verify", "--reference", "--tolerance", "0"], "");
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("FAIL logits"));
}

#[test]
fn verify_needs_a_folder_or_the_reference() {
    let (status, error) = fails(&["--demo", "verify"]);
    assert!(status == 2 && error.contains("<DIR>"), "{error}");
    let (status, _) = fails(&["verify", "--reference", "DIR", "--expected", "DIR"]);
    assert_eq!(status, 2);
}

#[test]
fn options_that_the_reference_lacks_are_named() {
    let candle = |more: &[&str]| fails(&[&["--demo", "--engine", "candle"], more].concat());
    let (status, error) = candle(&["--activations", "int8", "generate", "hi"]);
    assert!(
        status == 1 && error.contains("8-bit activations"),
        "{error}"
    );
    let (_, error) = candle(&["--activations", "int8", "--lang", "zh", "generate", "hi"]);
    assert!(error.contains("candle 引擎不支持：8 位激活值"), "{error}");
    let (status, error) = candle(&["--kv-cache", "int8", "generate", "hi"]);
    assert!(
        status == 1 && error.contains("8-bit KV cache") && error.contains("hint:"),
        "{error}"
    );
    let (_, error) = candle(&["--gpu-code", "75", "generate", "hi"]);
    assert!(error.contains("GPU architecture"), "{error}");
    let (_, error) = candle(&[
        "--layers-per-gpu",
        "1,2",
        "--gpu",
        "cpu,cpu",
        "generate",
        "hi",
    ]);
    assert!(
        error.contains("layers per device are 1,2") && error.contains("8 in total"),
        "{error}"
    );
    for command in [
        &["bench"][..],
        &["plan"],
        &["quantize", "A", "B"],
        &["verify", "A"],
    ] {
        let (status, error) = candle(command);
        assert!(status == 1 && error.contains(command[0]), "{error}");
        assert!(error.contains("--engine candle"), "{error}");
    }
    let (status, _) = fails(&["--demo", "--engine", "torch", "generate", "hi"]);
    assert_eq!(status, 2);
    if !moss::model::Reference::CUDA {
        let (status, error) = candle(&["--gpu", "0", "generate", "hi"]);
        assert!(status == 1 && error.contains("GPU 0"), "{error}");
        assert!(error.contains("--features candle-cuda"), "{error}");
    }
}
