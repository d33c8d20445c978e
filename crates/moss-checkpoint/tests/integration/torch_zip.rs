//! PyTorch files beyond the fixtures: views, transposes, shared and empty storages, every type.

use moss_checkpoint::{
    Attachment, Checkpoint, CheckpointError, DType, EntryFault, PickleError, Tensor,
};
use moss_testing::checkpoint::{Saved, state_dict, torch_folder};
use proptest::prelude::*;

fn i32s(values: impl IntoIterator<Item = i32>) -> Vec<u8> {
    values.into_iter().flat_map(i32::to_le_bytes).collect()
}

fn saved<'a>(name: &'a str, offset: i64, shape: &'a [i64], strides: &'a [i64]) -> Saved<'a> {
    Saved {
        name,
        kind: "Int",
        storage: 0,
        offset,
        shape,
        strides,
    }
}

fn open(tensors: &[Saved<'_>], storages: &[&[u8]]) -> Result<Checkpoint, CheckpointError> {
    let folder = torch_folder(&state_dict(tensors), storages, &[]);
    Checkpoint::open(folder.path()) // the map outlives the folder
}

fn read(tensors: &[Saved<'_>], storages: &[&[u8]]) -> Vec<Tensor> {
    let checkpoint = open(tensors, storages).unwrap();
    tensors
        .iter()
        .map(|tensor| checkpoint.tensor(tensor.name).unwrap())
        .collect()
}

#[test]
fn windows_and_transposes_of_one_storage_read_as_python_shows_them() {
    let storage = i32s(0..12);
    let tensors = read(
        &[
            saved("全部", 0, &[3, 4], &[4, 1]),
            saved("転置", 0, &[4, 3], &[1, 4]),
            saved("窗口", 5, &[2, 2], &[4, 1]),
            saved("每二", 1, &[3], &[2]),
            saved("标量🙂", 11, &[], &[]),
            saved("展开", 7, &[2, 3], &[0, 0]),
            saved("一行", 4, &[1, 4], &[99, 1]),
        ],
        &[&storage],
    );
    let expected: [(&[usize], Vec<i32>); 7] = [
        (&[3, 4], (0..12).collect()),
        (&[4, 3], vec![0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
        (&[2, 2], vec![5, 6, 9, 10]),
        (&[3], vec![1, 3, 5]),
        (&[], vec![11]),
        (&[2, 3], vec![7; 6]),
        (&[1, 4], vec![4, 5, 6, 7]),
    ];
    for (tensor, (shape, values)) in tensors.iter().zip(expected) {
        assert_eq!(
            (tensor.shape.as_slice(), tensor.to_i32().unwrap()),
            (shape, values),
            "{}",
            tensor.name
        );
    }
}

#[test]
fn tensors_without_elements_need_no_bytes() {
    let tensors = read(
        &[
            saved("a", 0, &[0, 7], &[7, 1]),
            saved("b", 0, &[7, 0], &[1, 7]),
        ],
        &[b""],
    );
    assert!(
        tensors
            .iter()
            .all(|tensor| tensor.data.is_empty() && tensor.to_i32().unwrap().is_empty())
    );
}

#[test]
fn every_storage_type_keeps_its_name_and_width() {
    let types = [
        ("Bool", DType::Bool),
        ("Byte", DType::U8),
        ("Char", DType::I8),
        ("Short", DType::I16),
        ("Int", DType::I32),
        ("Long", DType::I64),
        ("Half", DType::F16),
        ("BFloat16", DType::BF16),
        ("Float", DType::F32),
        ("Double", DType::F64),
    ];
    for (kind, dtype) in types {
        let tensor = Saved {
            name: "x",
            kind,
            storage: 0,
            offset: 1,
            shape: &[2],
            strides: &[1],
        };
        let bytes: Vec<u8> = (0..3 * dtype.bytes() as u8).collect();
        let found = &read(&[tensor], &[&bytes])[0];
        assert_eq!(
            (found.dtype, &found.data[..]),
            (dtype, &bytes[dtype.bytes()..]),
            "{kind}"
        );
    }
    let error = open(
        &[Saved {
            name: "x",
            kind: "QInt8",
            storage: 0,
            offset: 0,
            shape: &[1],
            strides: &[1],
        }],
        &[b"0"],
    );
    let Err(CheckpointError::Pickle {
        source: PickleError::Global { name, .. },
        ..
    }) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(name, "torch.QInt8Storage");
}

#[test]
fn halves_are_widened_exactly_and_infinities_are_found() {
    let bytes: Vec<u8> = [0x3c00u16, 0xfbff, 0x0001, 0x7c00]
        .iter()
        .flat_map(|half| half.to_le_bytes())
        .collect();
    let tensor = Saved {
        name: "x",
        kind: "Half",
        storage: 0,
        offset: 0,
        shape: &[4],
        strides: &[1],
    };
    let found = &read(&[tensor], &[&bytes])[0];
    assert_eq!(
        found.to_f32().unwrap(),
        [1.0, -65504.0, 2f32.powi(-24), f32::INFINITY]
    );
    let Err(CheckpointError::NonFinite { at, value, .. }) = found.check_finite() else {
        panic!()
    };
    assert_eq!((at, value), (3, f32::INFINITY));
}

#[test]
fn parameters_read_as_the_tensors_they_wrap() {
    let pickle = state_dict(&[saved("x", 0, &[2], &[1])]);
    // `_rebuild_parameter(tensor, False, OrderedDict())` around the tensor.
    let call = pickle.windows(7).position(|w| w == b"ctorch.").unwrap();
    let mut wrapped = pickle[..call].to_vec();
    wrapped.extend(b"ctorch._utils\n_rebuild_parameter\n(");
    wrapped.extend(&pickle[call..pickle.len() - 2]);
    wrapped.extend(b"\x89ccollections\nOrderedDict\n)RtRu.");
    let folder = torch_folder(&wrapped, &[&i32s([7, -8])], &[]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tensor("x").unwrap().to_i32().unwrap(), [7, -8]);
    let hooked = [
        wrapped
            .strip_suffix(b"ccollections\nOrderedDict\n)RtRu.")
            .unwrap(),
        b"}K\x01NstRu.",
    ]
    .concat();
    assert!(matches!(
        attached(&hooked),
        Err(PickleError::Attached {
            what: Attachment::BackwardHooks,
            ..
        })
    ));
}

/// Returns a state dict of one tensor, with these instructions as its last arguments.
fn with_arguments(rest: &[u8]) -> Vec<u8> {
    let pickle = state_dict(&[saved("x", 0, &[2], &[1])]);
    let usual = b"\x89ccollections\nOrderedDict\n)RtRu.";
    [pickle.strip_suffix(usual).unwrap(), rest].concat()
}

fn attached(pickle: &[u8]) -> Result<Vec<i32>, PickleError> {
    let folder = torch_folder(pickle, &[&i32s([7, -8])], &[]);
    match Checkpoint::open(folder.path()) {
        Ok(checkpoint) => Ok(checkpoint.tensor("x").unwrap().to_i32().unwrap()),
        Err(CheckpointError::Pickle { source, .. }) => Err(source),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn hooks_and_metadata_of_tensors_must_be_empty() {
    const EMPTY: &[u8] = b"ccollections\nOrderedDict\n)R";
    // `{"neg": True}`, as PyTorch saves a tensor whose elements are to be negated; a hook; a dict
    // that is filled after the call.
    let negated: &[u8] = b"}X\x03\x00\x00\x00neg\x88s";
    let hook: &[u8] = b"}K\x01Ns";
    let later: &[u8] = b"}q\x07";
    for rest in [
        [b"\x89", EMPTY, b"tRu."].concat(),
        [b"\x89", EMPTY, b"}tRu."].concat(),
        b"\x89NNtRu.".to_vec(),
    ] {
        assert_eq!(attached(&with_arguments(&rest)), Ok(vec![7, -8]));
    }
    let named = |rest: &[u8], expected: Attachment| match attached(&with_arguments(rest)) {
        Err(PickleError::Attached { name, what }) => {
            assert_eq!((name.as_str(), what), ("x", expected))
        }
        other => panic!("{other:?}"),
    };
    named(
        &[b"\x89", EMPTY, negated, b"tRu."].concat(),
        Attachment::Metadata,
    );
    named(
        &[b"\x89", hook, b"tRu."].concat(),
        Attachment::BackwardHooks,
    );
    named(
        &[b"\x89", later, b"tRh\x07K\x01Ns0u."].concat(),
        Attachment::BackwardHooks,
    );
}

#[test]
fn arguments_that_rebuilding_a_tensor_does_not_have_are_refused() {
    let hooks = b"\x89}";
    for rest in [
        &b"tRu."[..],
        b"\x89tRu.",
        b"\x89K\x01tRu.",
        b"\x89X\x01\x00\x00\x00atRu.",
    ] {
        assert!(
            matches!(
                attached(&with_arguments(rest)),
                Err(PickleError::Value { .. })
            ),
            "{rest:?}"
        );
    }
    for more in [&b"}}tRu."[..], b"K\x01tRu."] {
        let rest = [hooks, more].concat();
        assert!(
            matches!(
                attached(&with_arguments(&rest)),
                Err(PickleError::Value { .. })
            ),
            "{rest:?}"
        );
    }
    // A state set upon a tensor, in place of attributes of the dict.
    let state = [hooks, &b"tR}bu."[..]].concat();
    assert!(matches!(
        attached(&with_arguments(&state)),
        Err(PickleError::Value { .. })
    ));
    // `_metadata`, which every state dict of a module has.
    let metadata =
        b"\x89}tRu}X\x09\x00\x00\x00_metadata}X\x00\x00\x00\x00}X\x07\x00\x00\x00versionK\x01sssb.";
    assert_eq!(attached(&with_arguments(metadata)), Ok(vec![7, -8]));
}

#[test]
fn tensors_outside_the_string_keys_of_the_outermost_dict_are_refused() {
    let whole = state_dict(&[saved("x", 0, &[2], &[1])]);
    let begin = whole.windows(6).position(|w| w == b"ctorch").unwrap();
    let x = &whole[begin..whole.len() - 2]; // the call that rebuilds the tensor
    let (name, extra) = (b"X\x01\x00\x00\x00x", b"X\x05\x00\x00\x00extra");
    let read = |entries: &[&[u8]]| {
        attached(&[&b"\x80\x02}("[..], name, x, &entries.concat(), b"u."].concat())
    };
    assert_eq!(read(&[]), Ok(vec![7, -8]));
    let unreached: [&[&[u8]]; 5] = [
        &[extra, b"}", name, x, b"s"], // {"extra": {"x": tensor}}
        &[extra, b"]", x, b"a"],       // {"extra": [tensor]}
        &[extra, x, b"\x85"],          // {"extra": (tensor,)}
        &[b"K\x05", x],                // {5: tensor}
        &[x, b"0"],                    // rebuilt and dropped
    ];
    for entries in unreached {
        let expected = PickleError::Unreached {
            count: 1,
            record: "data/0".into(),
        };
        assert_eq!(read(entries), Err(expected), "{entries:?}");
    }
    // A second name for a tensor that has a string key loses nothing.
    assert_eq!(read(&[extra, x, b"q\x63K\x05h\x63"]), Ok(vec![7, -8]));
}

#[test]
fn a_tensor_beyond_its_storage_is_refused_whatever_overflows() {
    let storage = i32s(0..12);
    let cases: &[(i64, &[i64], &[i64])] = &[
        (0, &[13], &[1]),
        (1, &[12], &[1]),
        (0, &[4, 4], &[4, 1]),
        (0, &[2], &[12]),
        (13, &[0], &[1]),
        (i64::MAX, &[1], &[1]),
        (0, &[i64::MAX, i64::MAX], &[i64::MAX, 1]),
        (0, &[i64::MAX], &[0]),
        (0, &[1 << 32, 1 << 32], &[0, 0]),
        (0, &[2, 2], &[i64::MAX, i64::MAX]),
        (0, &[5, 5], &[0, 0]), // within the storage, yet more bytes than it has
    ];
    for (offset, shape, strides) in cases {
        let error = open(&[saved("x", *offset, shape, strides)], &[&storage]).unwrap_err();
        assert!(
            matches!(error, CheckpointError::TensorBounds { .. }),
            "{shape:?} {strides:?}: {error}"
        );
    }
    for (offset, shape, strides) in [
        (-1, &[1][..], &[1][..]),
        (0, &[-1], &[1]),
        (0, &[1], &[-1]),
        (0, &[1, 1], &[1]),
    ] {
        let error = open(&[saved("x", offset, shape, strides)], &[&storage]).unwrap_err();
        let CheckpointError::Pickle { source, .. } = error else {
            panic!("{error}")
        };
        assert!(matches!(source, PickleError::Value { .. }), "{source}");
    }
}

#[test]
fn what_the_archive_lacks_or_says_wrongly_is_named() {
    let tensor = [saved("x", 0, &[1], &[1])];
    let error = open(&tensor, &[]).unwrap_err();
    let CheckpointError::ZipEntry { entry, found, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        entry.ends_with("data/0") && *found == EntryFault::Missing,
        "{error}"
    );
    let big = torch_folder(
        &state_dict(&tensor),
        &[&i32s([1])],
        &[("byteorder", b"big")],
    );
    let error = Checkpoint::open(big.path()).unwrap_err();
    assert!(error.to_string().contains("big-endian"), "{error}");
    let little = torch_folder(
        &state_dict(&tensor),
        &[&i32s([1])],
        &[("byteorder", b"little")],
    );
    Checkpoint::open(little.path()).unwrap();
    let twice = [saved("x", 0, &[1], &[1]), saved("x", 0, &[1], &[1])];
    let error = open(&twice, &[&i32s([1])]).unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Pickle {
                source: PickleError::Value { .. },
                ..
            }
        ),
        "{error}"
    );
}

/// Any tensor over 24 elements; its extents and strides may exceed them.
fn layout() -> impl Strategy<Value = (i64, Vec<(i64, i64)>)> {
    (0..6i64, prop::collection::vec((0..4i64, 0..7i64), 0..4))
}

proptest! {
    #[test]
    fn strided_tensors_read_as_their_definition((offset, axes) in layout()) {
        let (shape, strides): (Vec<i64>, Vec<i64>) = axes.into_iter().unzip();
        let mut expected = vec![offset];
        for (n, stride) in shape.iter().zip(&strides) {
            expected = expected.iter().flat_map(|at| (0..*n).map(move |i| at + i * stride)).collect();
        }
        let fits = expected.len() <= 24 && expected.iter().all(|at| *at < 24);
        match open(&[saved("x", offset, &shape, &strides)], &[&i32s(0..24)]) {
            Ok(checkpoint) => {
                let found: Vec<i64> = checkpoint.tensor("x").unwrap().to_i32().unwrap().into_iter().map(i64::from).collect();
                prop_assert!(fits);
                prop_assert_eq!(found, expected);
            }
            Err(error) => prop_assert!(!fits, "{}", error),
        }
    }
}
