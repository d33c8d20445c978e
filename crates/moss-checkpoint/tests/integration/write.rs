//! Written tensors read back in both containers, for all types, shapes and lengths.

use std::{fs, path::Path};

use moss_checkpoint::{
    Checkpoint, CheckpointError, Container, DType, Outline, ShardDigest, ShardWriter, plan_shards,
    shard_digest, write_index,
};
use moss_testing::fixture;
use proptest::prelude::*;

const CONTAINERS: [Container; 2] = [Container::Safetensors, Container::Torch];
const TYPES: [DType; 10] = [
    DType::Bool,
    DType::U8,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
];

fn outline(name: &str, dtype: DType, shape: &[usize]) -> Outline {
    Outline {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
    }
}

fn noise(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn write(file: &Path, container: Container, tensors: &[Outline], piece: usize) -> ShardDigest {
    let mut writer = ShardWriter::create(file, container, tensors).unwrap();
    let bytes: Vec<u8> = tensors
        .iter()
        .enumerate()
        .flat_map(|(index, tensor)| noise(tensor.bytes() as usize, index as u8))
        .collect();
    bytes
        .chunks(piece)
        .for_each(|bytes| writer.append(bytes).unwrap());
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn any_tensors_written_in_any_pieces_read_back(
        shapes in prop::collection::vec((0..10usize, prop::collection::vec(0..5usize, 0..4)), 1..8),
        piece in 1..40usize,
    ) {
        let tensors: Vec<_> = shapes
            .iter()
            .enumerate()
            .map(|(index, (dtype, shape))| outline(&format!("张量.{index}"), TYPES[*dtype], shape))
            .collect();
        for container in CONTAINERS {
            let folder = tempfile::tempdir().unwrap();
            fs::copy(fixture("mini-int8/config.json"), folder.path().join("config.json")).unwrap();
            let file = folder.path().join(container.file_name(1, 1));
            let digest = write(&file, container, &tensors, piece);
            prop_assert_eq!(shard_digest(&file, &tensors).unwrap(), digest);
            let checkpoint = Checkpoint::open(folder.path()).unwrap();
            for (index, tensor) in tensors.iter().enumerate() {
                let found = checkpoint.tensor(&tensor.name).unwrap();
                prop_assert_eq!((found.dtype, &found.shape), (tensor.dtype, &tensor.shape));
                prop_assert_eq!(&found.data[..], &noise(tensor.bytes() as usize, index as u8)[..]);
            }
        }
    }
}

#[test]
fn shards_hold_no_more_than_asked_and_their_index_finds_every_tensor() {
    let tensors: Vec<_> = [600, 300, 200, 1500, 1, 999]
        .map(|n| outline(&format!("t{n}"), DType::U8, &[n]))
        .into();
    let shards = plan_shards(tensors, 1000);
    let sizes: Vec<u64> = shards
        .iter()
        .map(|shard| shard.iter().map(Outline::bytes).sum())
        .collect();
    assert_eq!(
        sizes,
        [900, 200, 1500, 1000],
        "one tensor is larger than a shard may be, and stands alone"
    );
    for container in CONTAINERS {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(
            fixture("mini-int8/config.json"),
            folder.path().join("config.json"),
        )
        .unwrap();
        for (number, shard) in shards.iter().enumerate() {
            write(
                &folder
                    .path()
                    .join(container.file_name(number + 1, shards.len())),
                container,
                shard,
                64,
            );
        }
        write_index(folder.path(), container, &shards).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.tensor_infos().count(), 6);
        assert_eq!(checkpoint.weight_files().count(), 4);
    }
}

#[test]
fn bytes_too_many_or_too_few_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for container in CONTAINERS {
        let create = || {
            ShardWriter::create(
                &folder.path().join("model.x"),
                container,
                &[outline("a", DType::F16, &[3])],
            )
        };
        let error = create().unwrap().append(&[0; 7]).unwrap_err();
        assert!(
            matches!(error, CheckpointError::WrongLength { excess: 1, .. }),
            "{error}"
        );
        let mut short = create().unwrap();
        short.append(&[0; 5]).unwrap();
        let error = short.finish().unwrap_err();
        assert!(
            matches!(error, CheckpointError::WrongLength { excess: -1, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_changed_after_it_was_written_has_another_digest() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = [outline("a", DType::F16, &[300])];
    for container in CONTAINERS {
        let file = folder.path().join(container.file_name(1, 1));
        let digest = write(&file, container, &tensors, 64);
        let other = [outline("a", DType::I16, &[300])];
        assert!(matches!(
            shard_digest(&file, &other),
            Err(CheckpointError::NotAsPlanned { .. })
        ));
        let mut bytes = fs::read(&file).unwrap();
        let pattern = &noise(600, 0)[100..140];
        let at = bytes
            .windows(pattern.len())
            .position(|found| found == pattern)
            .unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_ne!(shard_digest(&file, &tensors).unwrap(), digest);
    }
}
