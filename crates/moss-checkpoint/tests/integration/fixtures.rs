//! Every fixture: the containers, layouts and oddities of published checkpoints.

use std::fs;

use moss_checkpoint::{Checkpoint, RawConfig, Warning};
use moss_testing::{copy_fixture, fixture};
use moss_weights::{DenseDtype, GroupIndex, LinearShape, LinearWeight};

const ALL: &[&str] = &[
    "tiny-fp16-bin",
    "tiny-fp16-safetensors",
    "tiny-int4",
    "mini-fp16-safetensors",
    "mini-int4-act-order",
    "mini-int8",
    "mini-int8-act-order",
    "wide-int4",
];

/// Returns the four linear layers of a block: name, inputs, outputs, bias.
fn linears(config: &RawConfig) -> [(&'static str, usize, usize, bool); 4] {
    let (hidden, inner) = (
        config.hidden_size,
        config.inner_size.unwrap_or(4 * config.hidden_size),
    );
    [
        ("attn.qkv_proj", hidden, 3 * hidden, false),
        ("attn.out_proj", hidden, hidden, false),
        ("mlp.fc_in", hidden, inner, true),
        ("mlp.fc_out", inner, hidden, true),
    ]
}

#[test]
fn every_tensor_of_every_fixture_has_the_shape_that_config_json_gives() {
    for name in ALL {
        let checkpoint = Checkpoint::open(fixture(name)).unwrap();
        let config = checkpoint.config();
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        for (tensor, shape) in [
            ("transformer.wte.weight", vec![vocab, hidden]),
            ("transformer.ln_f.weight", vec![hidden]),
            ("lm_head.weight", vec![vocab, hidden]),
            ("lm_head.bias", vec![vocab]),
        ] {
            checkpoint
                .tensor(tensor)
                .unwrap()
                .expect_shape(&shape)
                .unwrap();
        }
        for layer in 0..config.num_layers {
            for (part, inputs, outputs, bias) in linears(config) {
                let stem = format!("transformer.h.{layer}.{part}");
                let shape = LinearShape {
                    in_features: inputs,
                    out_features: outputs,
                    has_bias: bias,
                };
                let linear = checkpoint.linear(&stem, shape).unwrap();
                assert_eq!(linear.bias.is_some(), bias, "{name} {stem}");
                match (linear.weight, checkpoint.quantization()) {
                    (LinearWeight::Dense(weight), None) => {
                        assert_eq!(weight.dtype, DenseDtype::F16, "{name} {stem}");
                    }
                    (LinearWeight::Gptq(linear), Some(whole)) => {
                        assert_eq!(
                            (linear.bits, linear.group_size),
                            (whole.bits, whole.group_size),
                            "{name} {stem}"
                        );
                        let order_matters = matches!(linear.groups, GroupIndex::Permuted(_));
                        assert!(whole.act_order || !order_matters, "{name} {stem}");
                    }
                    (linear, whole) => panic!("{name} {stem}: {linear:?} in {whole:?}"),
                }
            }
        }
        let sum: u64 = checkpoint.tensor_infos().map(|info| info.bytes()).sum();
        let files: u64 = checkpoint
            .weight_files()
            .map(|file| fs::metadata(file).unwrap().len())
            .sum();
        assert!(
            sum <= files && checkpoint.tensor_infos().count() > 20,
            "{name}: {sum} of {files}"
        );
    }
}

#[test]
fn every_fixture_says_how_it_is_quantised() {
    let found = |name: &str| {
        Checkpoint::open(fixture(name))
            .unwrap()
            .quantization()
            .map(|q| (q.bits.bits(), q.group_size, q.act_order))
    };
    let expected = [
        None,
        None,
        Some((4, 128, false)),
        None,
        Some((4, 128, true)),
        Some((8, 128, false)),
        Some((8, 128, true)),
        Some((4, 128, false)),
    ];
    for (name, expected) in ALL.iter().zip(expected) {
        assert_eq!(found(name), expected, "{name}");
    }
}

#[test]
fn published_configs_read_as_they_are() {
    for (name, wbits) in [
        ("base.1478dc1", None),
        ("sft.d6d5c17", None),
        ("sft.main-527fa41", None),
        ("sft-plugin-int4.8351edb", Some(4)),
    ] {
        let file = fixture("moss-data").join(format!("{name}.config.json"));
        let config = RawConfig::from_json(&fs::read(&file).unwrap(), &file).unwrap();
        let sizes = (
            config.vocab_size,
            config.hidden_size,
            config.num_layers,
            config.num_heads,
        );
        assert_eq!(sizes, (107_008, 6144, 34, 24), "{name}");
        assert_eq!(
            (config.rotary_dim, config.inner_size, config.context_length),
            (Some(64), None, 2048)
        );
        assert_eq!(config.wbits, wbits, "{name}");
    }
}

#[test]
fn the_same_weights_read_the_same_from_pickles_and_from_safetensors() {
    let pickles = Checkpoint::open(fixture("tiny-fp16-bin")).unwrap();
    let safetensors = Checkpoint::open(fixture("tiny-fp16-safetensors")).unwrap();
    let mut compared = 0;
    for info in safetensors.tensor_infos() {
        let (a, b) = (
            pickles.tensor(&info.name).unwrap(),
            safetensors.tensor(&info.name).unwrap(),
        );
        assert_eq!(
            (a.dtype, a.shape, a.data),
            (b.dtype, b.shape, b.data),
            "{}",
            info.name
        );
        compared += 1;
    }
    assert_eq!(compared, 29);
}

#[test]
fn mask_buffers_are_listed_without_a_warning() {
    let checkpoint = Checkpoint::open(fixture("tiny-fp16-bin")).unwrap();
    assert!(
        checkpoint.contains("transformer.h.0.attn.causal_mask") && checkpoint.warnings().is_empty()
    );
    assert_eq!(checkpoint.weight_files().count(), 3);
}

#[test]
fn releasing_a_tensor_changes_nothing_of_it() {
    let checkpoint = Checkpoint::open(fixture("tiny-fp16-bin")).unwrap();
    let name = "transformer.wte.weight";
    let before = checkpoint.tensor(name).unwrap().data.to_vec();
    checkpoint.release(name);
    checkpoint.release("没有");
    assert_eq!(checkpoint.tensor(name).unwrap().data, before);
}

#[test]
fn a_tensor_outlives_the_checkpoint_it_came_from() {
    let name = "transformer.ln_f.weight";
    let whole = Checkpoint::open(fixture("mini-int8"))
        .unwrap()
        .tensor(name)
        .unwrap();
    let again = Checkpoint::open(fixture("mini-int8")).unwrap();
    assert_eq!(
        whole.to_f32().unwrap(),
        again.tensor(name).unwrap().to_f32().unwrap()
    );
}

#[test]
fn oddities_of_config_json_are_warnings_and_the_tensors_decide() {
    let edited = |name: &str, edits: &[(&str, &str)]| {
        let folder = copy_fixture(name);
        let file = folder.path().join("config.json");
        let text = edits
            .iter()
            .fold(fs::read_to_string(&file).unwrap(), |text, (from, to)| {
                assert!(text.contains(from));
                text.replace(from, to)
            });
        fs::write(file, text).unwrap();
        Checkpoint::open(folder.path()).unwrap()
    };
    let checkpoint = edited(
        "mini-int8",
        &[
            ("\"wbits\": 8", "\"wbits\": 4"),
            (
                "\"torch_dtype\": \"float16\"",
                "\"torch_dtype\": \"float32\"",
            ),
        ],
    );
    assert!(checkpoint.warnings().contains(&Warning::BitWidth {
        config: 4,
        tensors: 8
    }));
    assert!(
        checkpoint
            .warnings()
            .iter()
            .any(|warning| matches!(warning, Warning::TorchDtype { .. }))
    );
    assert_eq!(checkpoint.quantization().unwrap().bits.bits(), 8);

    let dense = edited(
        "mini-fp16-safetensors",
        &[("\"wbits\": 32", "\"wbits\": 4")],
    );
    assert!(dense.warnings().contains(&Warning::BitWidth {
        config: 4,
        tensors: 16
    }));
    assert_eq!(dense.quantization(), None);

    let silent = edited(
        "tiny-int4",
        &[("\"wbits\": 4", "\"bits\": 4"), ("\"groupsize\"", "\"gs\"")],
    );
    assert_eq!(
        silent.quantization(),
        Checkpoint::open(fixture("tiny-int4"))
            .unwrap()
            .quantization()
    );
}

#[test]
fn safetensors_are_preferred_to_pickles_beside_them_with_a_warning() {
    let folder = copy_fixture("mini-fp16-safetensors");
    fs::write(folder.path().join("pytorch_model.bin"), "not read").unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let [Warning::SeveralSets { ignored, .. }] = checkpoint.warnings() else {
        panic!("{:?}", checkpoint.warnings())
    };
    assert!(ignored[0].ends_with("pytorch_model.bin"));
}
