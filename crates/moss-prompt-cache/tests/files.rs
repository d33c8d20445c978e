//! Files that were written are read, and all others are refused.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use moss_prompt_cache::{FileFault, Prefix, PromptCache, PromptCacheError};
use proptest::prelude::*;
use tempfile::TempDir;

const BLOCK_BYTES: usize = 48;

fn prefix(first: u32) -> Prefix {
    Prefix {
        model: "moss-demo".to_owned(),
        description: "code 1, f32".to_owned(),
        ids: (first..first + 10).collect(),
        block_size: 4,
        block_bytes: BLOCK_BYTES,
    }
}

fn block(index: usize) -> Vec<u8> {
    (0..BLOCK_BYTES)
        .map(|byte| (byte * 3 + index) as u8)
        .collect()
}

fn cache() -> (TempDir, PromptCache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = PromptCache::new(folder.path().join("prompts"), 1 << 20);
    (folder, cache)
}

fn write(cache: &PromptCache, prefix: &Prefix) {
    let mut writer = cache.create(prefix).unwrap().unwrap();
    (0..prefix.blocks()).for_each(|index| writer.add_block(&block(index)).unwrap());
    writer.finish().unwrap();
}

fn read(cache: &PromptCache, prefix: &Prefix) -> Result<Vec<Vec<u8>>, PromptCacheError> {
    let Some(mut reader) = cache.open(prefix)? else {
        return Ok(Vec::new());
    };
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Returns the files of the folder, without the lock.
fn files(cache: &PromptCache) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some()).collect()
}

fn damage(result: Result<Vec<Vec<u8>>, PromptCacheError>) -> FileFault {
    match result {
        Err(PromptCacheError::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_blocks_that_were_written_are_read() {
    let (_folder, cache) = cache();
    assert!(read(&cache, &prefix(1)).unwrap().is_empty());
    write(&cache, &prefix(1));
    assert_eq!(read(&cache, &prefix(1)).unwrap(), [block(0), block(1)]);
    assert!(read(&cache, &prefix(2)).unwrap().is_empty());
    let list = cache.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(*list[0].prefix.as_ref().unwrap(), prefix(1));
    assert_eq!(list[0].bytes, fs::metadata(&list[0].path).unwrap().len());
}

#[test]
fn a_file_of_another_prefix_under_the_same_name_is_refused() {
    let (_folder, cache) = cache();
    write(&cache, &prefix(1));
    let [wanted] = &files(&cache)[..] else {
        panic!()
    };
    let others = [
        prefix(2),
        Prefix {
            description: "code 2, f32".to_owned(),
            ..prefix(1)
        },
        Prefix {
            block_size: 5,
            ..prefix(1)
        },
    ];
    for other in others {
        let (_folder, from) = self::cache();
        write(&from, &other);
        fs::copy(&files(&from)[0], wanted).unwrap();
        assert_eq!(damage(read(&cache, &prefix(1))), FileFault::OtherPrefix);
    }
    let renamed = Prefix {
        model: "another name".to_owned(),
        ..prefix(1)
    };
    write(&cache, &renamed);
    assert_eq!(read(&cache, &prefix(1)).unwrap().len(), 2);
}

#[test]
fn a_file_appears_when_it_is_complete() {
    let (_folder, cache) = cache();
    let mut writer = cache.create(&prefix(1)).unwrap().unwrap();
    writer.add_block(&block(0)).unwrap();
    assert!(matches!(
        writer.add_block(&block(1)[1..]),
        Err(PromptCacheError::BlockSize { .. })
    ));
    assert!(cache.open(&prefix(1)).unwrap().is_none());
    assert!(
        cache.create(&prefix(2)).unwrap().is_none(),
        "one writer at a time"
    );
    assert!(matches!(
        writer.finish(),
        Err(PromptCacheError::BlockCount {
            found: 1,
            expected: 2
        })
    ));
    assert!(files(&cache).is_empty());
    // What a killed process left is removed by the next writer.
    let left = cache.folder().join("0.moss-kv-unfinished");
    fs::write(&left, "left").unwrap();
    write(&cache, &prefix(1));
    assert!(!left.exists());
}

#[test]
fn the_least_recently_used_files_are_removed() {
    let (_folder, cache) = cache();
    let now = SystemTime::now();
    let mut ages = Vec::new();
    for first in 1..=3 {
        write(&cache, &prefix(first));
        let path = cache.list().unwrap().remove(0).path;
        let age = now - Duration::from_secs(1000 - u64::from(first));
        fs::File::open(&path).unwrap().set_modified(age).unwrap();
        ages.push(path);
    }
    let bytes = fs::metadata(&ages[0]).unwrap().len();
    read(&cache, &prefix(1)).unwrap(); // now 2 is the least recently used one
    let small = PromptCache::new(cache.folder().to_owned(), 3 * bytes);
    write(&small, &prefix(4));
    let found = |first| !read(&cache, &prefix(first)).unwrap().is_empty();
    assert_eq!([1, 2, 3, 4].map(found), [true, false, true, true]);
    let tiny = PromptCache::new(cache.folder().to_owned(), bytes - 1);
    assert!(tiny.create(&prefix(5)).unwrap().is_none());
    assert_eq!(files(&cache).len(), 3);
}

#[test]
fn clear_removes_the_files_of_the_cache_and_no_others() {
    let (_folder, cache) = cache();
    assert_eq!(cache.clear().unwrap(), (0, 0));
    write(&cache, &prefix(1));
    write(&cache, &prefix(2));
    let bytes = files(&cache).into_iter();
    let bytes = bytes.map(|path| fs::metadata(path).unwrap().len());
    let bytes = bytes.sum();
    let other = cache.folder().join("notes.txt");
    fs::write(&other, "mine").unwrap();
    assert_eq!(cache.clear().unwrap(), (2, bytes));
    assert_eq!(files(&cache), [other]);
}

#[test]
fn clear_removes_what_killed_processes_left_but_no_file_that_is_being_written() {
    let (_folder, cache) = cache();
    let mut writer = cache.create(&prefix(1)).unwrap().unwrap();
    assert_eq!(cache.clear().unwrap(), (0, 0));
    (0..2).for_each(|index| writer.add_block(&block(index)).unwrap());
    writer.finish().unwrap();
    assert_eq!(read(&cache, &prefix(1)).unwrap().len(), 2);
    let left = cache.folder().join("0.moss-kv-unfinished");
    fs::write(&left, "left").unwrap();
    let bytes = fs::metadata(&files(&cache)[0]).unwrap().len();
    let bytes = bytes + fs::metadata(&files(&cache)[1]).unwrap().len();
    assert_eq!(cache.clear().unwrap(), (2, bytes));
    assert!(files(&cache).is_empty());
}

#[cfg(unix)]
#[test]
fn only_the_user_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, cache) = cache();
    write(&cache, &prefix(1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(cache.folder()), 0o700);
    assert_eq!(mode(&files(&cache)[0]), 0o600);
}

#[test]
fn every_truncated_file_and_every_flipped_bit_is_found() {
    let (_folder, cache) = cache();
    write(&cache, &prefix(1));
    let path = files(&cache).remove(0);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        damage(read(&cache, &prefix(1)));
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(damage(read(&cache, &prefix(1))), FileFault::Size);
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 1 << (index % 8);
        fs::write(&path, &changed).unwrap();
        damage(read(&cache, &prefix(1)));
        let listed = cache.list().unwrap().remove(0).prefix;
        assert_eq!(listed.is_ok(), index >= whole.len() - 2 * (BLOCK_BYTES + 4));
    }
}

#[test]
fn a_header_that_announces_gigabytes_allocates_nothing() {
    let (_folder, cache) = cache();
    write(&cache, &prefix(1));
    let path = files(&cache).remove(0);
    let whole = fs::read(&path).unwrap();
    for at in (12..36).step_by(4) {
        let mut changed = whole.clone();
        changed[at..at + 4].fill(0xff);
        fs::write(&path, &changed).unwrap();
        assert!(matches!(
            damage(read(&cache, &prefix(1))),
            FileFault::Length | FileFault::Size
        ));
        moss_prompt_cache::fuzzing::file(&changed);
    }
}

proptest! {
    /// Any bytes, and any change of a valid file, give a result or a fault.
    #[test]
    fn no_file_causes_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in 0usize..160,
        value in any::<u32>(),
    ) {
        moss_prompt_cache::fuzzing::file(&bytes);
        let (_folder, cache) = cache();
        write(&cache, &prefix(1));
        let mut whole = fs::read(&files(&cache)[0]).unwrap();
        moss_prompt_cache::fuzzing::file(&whole);
        let at = at.min(whole.len() - 4);
        whole[at..at + 4].copy_from_slice(&value.to_le_bytes());
        moss_prompt_cache::fuzzing::file(&whole);
    }
}
