//! Conversion of a checkpoint into another container, bit for bit.

use std::{fs, path::Path, time::UNIX_EPOCH};

use moss_checkpoint::{Checkpoint, Container, Outline, ShardWriter, plan_shards};

use crate::{
    FolderAction, QuantizeError,
    folder::{NewFolder, io},
};

/// Options of [`convert()`].
#[derive(Debug, Clone, Copy)]
pub struct ConvertOptions {
    /// The container to write.
    pub container: Container,
    /// Maximum bytes of tensors in a shard.
    pub max_shard_bytes: u64,
    /// Replace a checkpoint in the target folder once the new one is complete.
    pub replace: bool,
}

/// Progress: `Started`, then for each shard either `Kept`, or any number of `Advanced` and one
/// `Verified`; then `Finished` unless an error is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConvertEvent {
    /// The sizes are known.
    Started {
        /// Bytes of all tensors.
        bytes: u64,
        /// Number of shards.
        shards: usize,
    },
    /// An earlier run wrote this shard, and its digest is unchanged.
    Kept {
        /// File name.
        file: String,
        /// Bytes of its tensors.
        bytes: u64,
    },
    /// Bytes were written.
    Advanced {
        /// Bytes since the last event.
        bytes: u64,
    },
    /// A shard was read back and verified.
    Verified {
        /// File name.
        file: String,
    },
    /// The folder was renamed to its final name.
    Finished,
}

/// Writes the checkpoint in folder `source` into the new folder `target`, in another container.
/// Memory use does not depend on the size of the files, unless tensors are stored with strides. Files
/// other than weights are copied. An interrupted run is resumed: finished shards are verified and
/// kept.
///
/// `interrupted` is polled often. If it returns true, the conversion ends and can be resumed.
///
/// # Errors
/// [`QuantizeError::Exists`] if `target` is not an empty folder, unless it is replaced; [`QuantizeError::NotReplaced`]; [`QuantizeError::Busy`]; [`QuantizeError::DiskSpace`];
/// [`QuantizeError::Damaged`] for a shard that differs when read back; [`QuantizeError::Checkpoint`]
/// for files that cannot be read or written; [`QuantizeError::Interrupted`].
pub fn convert(
    source: &Path,
    target: &Path,
    options: ConvertOptions,
    interrupted: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(ConvertEvent),
) -> Result<(), QuantizeError> {
    let checkpoint = Checkpoint::open(source)?;
    let shards = plan_shards(in_file_order(&checkpoint), options.max_shard_bytes);
    let job = job(&checkpoint, options)?;
    let mut folder = NewFolder::begin(
        target,
        source,
        options.replace,
        Some(job),
        options.container,
        &shards,
    )?;
    let bytes = shards.iter().flatten().map(Outline::bytes).sum();
    progress(ConvertEvent::Started {
        bytes,
        shards: shards.len(),
    });
    for (number, tensors) in shards.iter().enumerate() {
        let file = options.container.file_name(number + 1, shards.len());
        if folder.has_kept(&file, tensors) {
            progress(ConvertEvent::Kept {
                file,
                bytes: tensors.iter().map(Outline::bytes).sum(),
            });
            continue;
        }
        let mut writer = ShardWriter::create(&folder.path(&file), options.container, tensors)?;
        for tensor in tensors {
            checkpoint.for_each_piece(&tensor.name, &mut |piece| {
                if interrupted() {
                    return Err(QuantizeError::Interrupted);
                }
                writer.append(piece)?;
                progress(ConvertEvent::Advanced {
                    bytes: piece.len() as u64,
                });
                Ok(())
            })?;
        }
        folder.verify(&file, tensors, writer.finish()?)?;
        progress(ConvertEvent::Verified { file });
    }
    folder.finish(&checkpoint, options.container, &shards, None)?;
    progress(ConvertEvent::Finished);
    Ok(())
}

/// Returns the tensors in file order, so that the files are read sequentially.
fn in_file_order(checkpoint: &Checkpoint) -> Vec<Outline> {
    let mut infos: Vec<_> = checkpoint.tensor_infos().collect();
    infos.sort_by(|a, b| a.place().cmp(&b.place()));
    infos.into_iter().map(Outline::from).collect()
}

/// Returns a string that identifies this conversion: options, and names, sizes and times of the
/// source files.
fn job(checkpoint: &Checkpoint, options: ConvertOptions) -> Result<String, QuantizeError> {
    let mut job = format!(
        "convert {:?} {}",
        options.container, options.max_shard_bytes
    );
    for file in checkpoint.weight_files() {
        let data = fs::metadata(file).map_err(|source| io(FolderAction::Read, file, source))?;
        let time = data
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanos = time.unwrap_or_default().as_nanos();
        job += &format!(" {} {} {nanos}", file.display(), data.len());
    }
    Ok(job)
}
