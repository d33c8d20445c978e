//! Layers run one at a time.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use moss_checkpoint::Checkpoint;
use moss_model::{
    BlockPool, BlockTable, HiddenPoint, LanguageModel, Layer, LinearKind, LoadOptions, LogitRows, ModelError,
    Moss, MossConfig, SequenceChunk, embed,
};

#[test]
fn layers_run_one_by_one_give_the_bits_of_the_whole_network() {
    for name in ["tiny-fp16-bin", "mini-int4-act-order"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
        let checkpoint = Checkpoint::open(folder).unwrap();
        let config = MossConfig::try_from(checkpoint.config()).unwrap();
        let ids: Vec<u32> = (0..50).map(|at| at * 37 % config.vocab_size as u32).collect();

        let mut model = Moss::load(&checkpoint, &LoadOptions::cpu(64), &mut |_| {}).unwrap();
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape()).grow(&mut blocks, ids.len()).unwrap();
        let chunk = SequenceChunk { token_ids: &ids, start_pos: 0, blocks: &blocks, logits: LogitRows::None };
        let mut seen = Vec::new();
        let mut tap = |point, values: &[f32]| seen.push((point, values.to_vec()));
        model.forward_traced(&[chunk], &|| false, Some(&mut tap)).unwrap();

        let mut hidden = embed(&checkpoint, &ids).unwrap();
        assert_eq!(seen[0], (HiddenPoint::Embedding, hidden.clone()));
        for layer in 0..config.num_layers {
            let one = Layer::load(&checkpoint, &config, layer, ids.len()).unwrap();
            let mut inputs = Vec::new();
            let mut see = |kind: LinearKind, x: &[f32]| inputs.push((kind, x.len()));
            let rest = hidden.split_off(20 * config.hidden_size);
            let first = one.forward(hidden, 0, &mut |_, _| {}).unwrap();
            hidden = [first, one.forward(rest, 20, &mut see).unwrap()].concat();
            assert_eq!(seen[layer + 1], (HiddenPoint::Block(layer), hidden.clone()), "{name}");
            assert_eq!(inputs.len(), 4);
            assert!(inputs.iter().all(|(kind, len)| *len == 30 * kind.extents(&config).0));
        }
        let short = Layer::load(&checkpoint, &config, 0, 16).unwrap();
        let error = short.forward(hidden, 0, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, ModelError::WindowFull { end: 50, context_length: 16 }), "{error}");
    }
}
