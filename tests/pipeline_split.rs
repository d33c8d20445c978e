//! The logits are bit-identical for every division of the layers among stages: every format, short
//! and long prompts, decode steps, and after cancellation.

use std::cell::Cell;

use moss::{
    Checkpoint, LoadOptions, Moss,
    model::{
        BlockPool, BlockTable, ComputeDtype, DeviceSpec, LanguageModel, LogitRows, ModelError,
        MossConfig, SequenceChunk, TokenKind,
    },
};
use moss_testing::{fixture, repository};

fn load(folder: &str, layers: &[usize], dtype: ComputeDtype) -> Moss {
    let checkpoint = Checkpoint::open(repository(folder)).unwrap();
    let window = MossConfig::try_from(checkpoint.config())
        .unwrap()
        .context_length;
    let options = LoadOptions {
        dtype,
        devices: vec![DeviceSpec::Cpu; layers.len()],
        layers_per_device: Some(layers.to_vec()),
        ..LoadOptions::cpu(window)
    };
    Moss::load(&checkpoint, &options, &mut |_| {}).unwrap()
}

/// Returns token `i` of a synthetic prompt.
fn token(i: usize, vocab: usize) -> u32 {
    ((i + 1).wrapping_mul(2_654_435_761) % vocab.min(50_000)) as u32
}

/// Returns the bits of all logits of a prompt of `rows` tokens in chunks of `chunk`, and of four
/// decode steps.
fn bits(model: &mut Moss, rows: usize, chunk: usize) -> Vec<u32> {
    let vocab = model.config().vocab_size;
    let ids: Vec<u32> = (0..rows + 4).map(|i| token(i, vocab)).collect();
    let mut blocks = BlockTable::default();
    BlockPool::new(model.cache_shape())
        .grow(&mut blocks, ids.len())
        .unwrap();
    let mut bits = Vec::new();
    let starts = (0..rows).step_by(chunk).map(|at| at..rows.min(at + chunk));
    for part in starts.chain((rows..ids.len()).map(|at| at..at + 1)) {
        let chunk = SequenceChunk {
            token_ids: &ids[part.clone()],
            kind: TokenKind::Prompt,
            start_pos: part.start,
            blocks: &blocks,
            logits: LogitRows::All,
        };
        let logits = model.forward(&[chunk], &|| false).unwrap().remove(0);
        bits.extend(logits.values().iter().map(|value| value.to_bits()));
    }
    bits
}

#[test]
fn the_demo_on_one_to_eight_stages_gives_the_same_bits() {
    for folder in ["examples/demo/moss-demo", "examples/demo/moss-demo-int4"] {
        for dtype in [ComputeDtype::F32, ComputeDtype::F16] {
            let expected = bits(&mut load(folder, &[8], dtype), 37, 37);
            for layers in [
                &[4, 4][..],
                &[3, 2, 3],
                &[1, 5, 1, 1],
                &[2, 2, 2, 2],
                &[1, 1, 1, 2, 1, 1, 1],
                &[1; 8],
            ] {
                let found = bits(&mut load(folder, layers, dtype), 37, 37);
                assert!(found == expected, "{folder} {dtype:?} {layers:?}");
            }
        }
    }
}

#[test]
fn a_prompt_of_several_passes_gives_the_same_bits_on_two_stages() {
    let folder = "examples/demo/moss-demo-int4";
    let expected = bits(&mut load(folder, &[8], ComputeDtype::F32), 700, 700);
    assert!(bits(&mut load(folder, &[3, 5], ComputeDtype::F32), 700, 700) == expected);
    assert!(
        bits(&mut load(folder, &[5, 3], ComputeDtype::F32), 700, 300) == expected,
        "in other chunks"
    );
}

#[test]
fn every_fixture_split_after_its_first_layer_gives_the_same_bits() {
    let mut checked = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(checkpoint) = Checkpoint::open(&folder) else {
            continue;
        };
        let layers = MossConfig::try_from(checkpoint.config())
            .unwrap()
            .num_layers;
        if layers < 2 {
            continue;
        }
        let name = format!(
            "tests/fixtures/{}",
            folder.file_name().unwrap().to_str().unwrap()
        );
        let expected = bits(&mut load(&name, &[layers], ComputeDtype::F32), 21, 21);
        let split = load(&name, &[1, layers - 1], ComputeDtype::F32);
        assert_eq!(split.stages().unwrap().len(), 2);
        assert!(bits(&mut { split }, 21, 21) == expected, "{name}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn a_cancel_in_any_stage_leaves_the_pipeline_sound() {
    let folder = "examples/demo/moss-demo-int4";
    let expected = bits(&mut load(folder, &[8], ComputeDtype::F32), 5, 5);
    let mut model = load(folder, &[2, 2, 4], ComputeDtype::F32);
    let mut blocks = BlockTable::default();
    BlockPool::new(model.cache_shape())
        .grow(&mut blocks, 16)
        .unwrap();
    for patience in 0..11 {
        let asked = Cell::new(0);
        let interrupted = || asked.replace(asked.get() + 1) == patience;
        let chunk = SequenceChunk {
            token_ids: &[1, 2, 3],
            kind: TokenKind::Prompt,
            start_pos: 0,
            blocks: &blocks,
            logits: LogitRows::Last,
        };
        let found = model.forward(&[chunk], &interrupted);
        assert!(
            matches!(found, Err(ModelError::Interrupted)),
            "{patience}: {found:?}"
        );
    }
    assert!(bits(&mut model, 5, 5) == expected);
}

#[test]
fn layers_that_do_not_add_up_are_refused_before_anything_is_read() {
    let checkpoint = Checkpoint::open(repository("examples/demo/moss-demo-int4")).unwrap();
    for layers in [&[4, 5][..], &[8], &[0, 8], &[4, 3]] {
        let options = LoadOptions {
            devices: vec![DeviceSpec::Cpu; 2],
            layers_per_device: Some(layers.to_vec()),
            ..LoadOptions::cpu(64)
        };
        let mut events = 0;
        let error = Moss::load(&checkpoint, &options, &mut |_| events += 1).unwrap_err();
        assert!(
            events <= 1 && error.to_string().contains("layers"),
            "{layers:?}: {error}"
        );
    }
}
