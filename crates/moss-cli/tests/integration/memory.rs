//! The memory of a conversation: the file, the KV cache, and 300 MB for everything else.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use crate::support::command;
use moss_testing::{demo, memory_bytes, pseudo_random_bytes, read_json};
use serde_json::{Map, Value, json};

/// Sizes of a model whose file is larger than the other memory that is allowed, so that a second
/// copy of the weights is detected.
const HIDDEN: usize = 2048;
const INNER: usize = 4 * HIDDEN;
const LAYERS: usize = 16;
const HEADS: usize = 16;
const CONTEXT: usize = 256;
const GROUP_SIZE: usize = 128;

/// The cache holds f32 unless `--dtype` says otherwise.
const CACHE_BYTES: u64 = (2 * LAYERS * CONTEXT * HIDDEN * 4) as u64;
const OTHER_BYTES: u64 = 300_000_000;

enum Fill {
    Noise,
    /// Every 32-bit word or pair of halves is this one.
    Word([u8; 4]),
    Groups {
        act_order: bool,
    },
}

struct Plan {
    header: Map<String, Value>,
    tensors: Vec<(Fill, usize)>,
    end: usize,
}

impl Plan {
    fn add(&mut self, name: &str, dtype: &str, shape: &[usize], fill: Fill) {
        let len = shape.iter().product::<usize>() * if dtype == "F16" { 2 } else { 4 };
        let offsets = [self.end, self.end + len];
        self.header.insert(
            name.to_owned(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
        );
        self.tensors.push((fill, len));
        self.end += len;
    }

    fn halves(&mut self, name: &str, shape: &[usize], value: [u8; 2]) {
        self.add(
            name,
            "F16",
            shape,
            Fill::Word([value[0], value[1], value[0], value[1]]),
        );
    }

    fn packed(&mut self, stem: &str, outputs: usize, inputs: usize, act_order: bool) {
        let groups = inputs / GROUP_SIZE;
        self.add(
            &format!("{stem}.qweight"),
            "I32",
            &[inputs / 8, outputs],
            Fill::Noise,
        );
        self.add(
            &format!("{stem}.qzeros"),
            "I32",
            &[groups, outputs / 8],
            Fill::Word([0x77; 4]),
        );
        self.halves(&format!("{stem}.scales"), &[groups, outputs], [0x00, 0x14]); // 2^-10
        self.add(
            &format!("{stem}.g_idx"),
            "I32",
            &[inputs],
            Fill::Groups { act_order },
        );
    }

    fn write(&self, path: &Path) {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
        let header = serde_json::to_vec(&self.header).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes())
            .unwrap();
        file.write_all(&header).unwrap();
        let mut seed = 1;
        let mut block = vec![0u8; 1 << 20];
        for (fill, len) in &self.tensors {
            match fill {
                Fill::Groups { act_order } => {
                    let inputs = len / 4;
                    // An odd multiplier permutes a power of two.
                    let permuted = |input: usize| {
                        if *act_order {
                            input * 37 % inputs
                        } else {
                            input
                        }
                    };
                    for input in 0..inputs {
                        file.write_all(&((permuted(input) / GROUP_SIZE) as u32).to_le_bytes())
                            .unwrap();
                    }
                    continue;
                }
                Fill::Word(word) => block
                    .chunks_exact_mut(4)
                    .for_each(|to| to.copy_from_slice(word)),
                Fill::Noise => {}
            }
            let mut left = *len;
            while left > 0 {
                let part = left.min(block.len());
                if matches!(fill, Fill::Noise) {
                    pseudo_random_bytes(&mut seed, &mut block[..part]);
                }
                file.write_all(&block[..part]).unwrap();
                left -= part;
            }
        }
        file.flush().unwrap();
    }
}

/// Writes an int4 checkpoint of these sizes, with the demo model's tokenizer. Returns the bytes of
/// its weights.
fn write_checkpoint(folder: &Path, act_order: bool) -> u64 {
    let demo = demo("moss-demo-int4");
    for name in [
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ] {
        fs::copy(demo.join(name), folder.join(name)).unwrap();
    }
    let mut config = read_json(demo.join("config.json"));
    for (key, value) in [
        ("n_embd", HIDDEN),
        ("n_layer", LAYERS),
        ("n_head", HEADS),
        ("n_ctx", CONTEXT),
        ("n_positions", CONTEXT),
    ] {
        config[key] = value.into();
    }
    let vocab = config["vocab_size"].as_u64().unwrap() as usize;
    fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let (one, small) = ([0x00, 0x3C], [0x00, 0x10]);
    let mut plan = Plan {
        header: Map::new(),
        tensors: Vec::new(),
        end: 0,
    };
    plan.halves("transformer.wte.weight", &[vocab, HIDDEN], one);
    for layer in 0..LAYERS {
        let stem = format!("transformer.h.{layer}");
        plan.halves(&format!("{stem}.ln_1.weight"), &[HIDDEN], one);
        plan.halves(&format!("{stem}.ln_1.bias"), &[HIDDEN], small);
        plan.packed(
            &format!("{stem}.attn.qkv_proj"),
            3 * HIDDEN,
            HIDDEN,
            act_order,
        );
        plan.packed(&format!("{stem}.attn.out_proj"), HIDDEN, HIDDEN, act_order);
        plan.packed(&format!("{stem}.mlp.fc_in"), INNER, HIDDEN, act_order);
        plan.halves(&format!("{stem}.mlp.fc_in.bias"), &[INNER], small);
        plan.packed(&format!("{stem}.mlp.fc_out"), HIDDEN, INNER, act_order);
        plan.halves(&format!("{stem}.mlp.fc_out.bias"), &[HIDDEN], small);
    }
    plan.halves("transformer.ln_f.weight", &[HIDDEN], one);
    plan.halves("transformer.ln_f.bias", &[HIDDEN], small);
    plan.halves("lm_head.weight", &[vocab, HIDDEN], small);
    plan.halves("lm_head.bias", &[vocab], small);
    let path = folder.join("model.safetensors");
    plan.write(&path);
    fs::metadata(path).unwrap().len()
}

fn check(act_order: bool) {
    let folder = tempfile::tempdir().unwrap();
    let file_bytes = write_checkpoint(folder.path(), act_order);
    assert!(
        file_bytes > OTHER_BYTES + CACHE_BYTES,
        "a second copy of {file_bytes} bytes would not be seen"
    );
    let model = folder.path().display().to_string();
    let args = [
        "--model",
        &model,
        "--system",
        "",
        "--temperature",
        "0",
        "--max-new-tokens",
        "4",
        "--lang",
        "en",
    ];
    let mut child = command(folder.path(), &args).spawn().unwrap();
    // The input stays open, so that the process still exists when it is measured.
    let mut input = child.stdin.take().unwrap();
    input.write_all("Hi there\n/stats\n".as_bytes()).unwrap();
    input.flush().unwrap();
    let mut notes = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !notes.contains("prompt tokens") {
        assert!(
            lines.read_line(&mut notes).unwrap() > 0,
            "no answer: {notes}"
        );
    }
    let peak = memory_bytes(&child.id().to_string(), "VmHWM");
    drop(input);
    assert!(child.wait().unwrap().success());
    let allowed = file_bytes + CACHE_BYTES + OTHER_BYTES;
    assert!(
        peak <= allowed,
        "{peak} bytes at the peak, expected at most {allowed} for {file_bytes} of weights"
    );
}

#[test]
fn a_chat_holds_the_file_once() {
    check(false);
}

#[test]
fn weights_that_are_sorted_at_load_are_held_once_too() {
    check(true);
}
