//! Keeps the cache blocks of a chat's system prompt in a file.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Instant,
};

use moss_checkpoint::Checkpoint;
use moss_engine::{Engine, EngineError, PrefixBlocks};
use moss_prompt_cache::{Prefix, PromptCache, PromptCacheError};

/// The system prompt of a chat in a [`PromptCache`]: it was read from there, or it is written as
/// soon as it has been computed. Dropping this does not wait for the write.
#[derive(Debug)]
#[must_use = "a file that is being written is lost at the end of the process"]
pub struct StoredPrompt {
    tokens: usize,
    writer: Option<Writer>,
}

/// The thread that writes the file.
#[derive(Debug)]
struct Writer {
    signals: Sender<Signal>,
    thread: JoinHandle<()>,
}

enum Signal {
    /// All blocks have been computed.
    Computed,
    /// The chat has ended.
    Stop,
}

/// Errors of one of the two sides.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    File(#[from] PromptCacheError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl StoredPrompt {
    /// Reads the blocks of `ids`, the first tokens of every prompt, from the cache into the engine.
    /// If there is no file, a thread writes them when they have been computed. Faults of the cache
    /// are logged: without it, the engine computes the blocks.
    pub(crate) fn begin(
        cache: &PromptCache,
        engine: &Engine,
        ids: Vec<u32>,
        model: &str,
        checkpoint: &Checkpoint,
    ) -> Self {
        let mut stored = Self {
            tokens: 0,
            writer: None,
        };
        let Some(blocks) = engine.prefix_blocks() else {
            return stored;
        };
        let fingerprint = match checkpoint.fingerprint() {
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                tracing::warn!(%error, "no prompt cache: the weight files cannot be read");
                return stored;
            }
        };
        let prefix = Prefix {
            model: model.to_owned(),
            description: format!("weights {fingerprint}, {}", blocks.format().description),
            ids,
            block_size: blocks.block_size(),
            block_bytes: blocks.format().bytes,
        };
        if prefix.blocks() == 0 {
            return stored; // a short system prompt of the user
        }
        let began = Instant::now();
        match read(cache, &blocks, &prefix, &mut stored.tokens) {
            Ok(true) => {
                let (tokens, elapsed) = (stored.tokens, began.elapsed());
                tracing::info!(tokens, ?elapsed, "prompt cache read");
                return stored;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a file of the prompt cache was ignored"),
        }
        match Writer::start(cache.clone(), blocks, prefix) {
            Ok(writer) => stored.writer = Some(writer),
            Err(error) => tracing::warn!(%error, "the prompt cache will not be written"),
        }
        stored
    }

    /// Returns the number of tokens that were read from the cache.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Waits until the file has been written, if its blocks have been computed. The chat must still
    /// exist.
    pub fn finish(self) {
        let Some(Writer { signals, thread }) = self.writer else {
            return;
        };
        let _ = signals.send(Signal::Stop); // fails if the thread has ended
        let _ = thread.join(); // its panic is in the log
    }
}

impl Writer {
    fn start(cache: PromptCache, blocks: PrefixBlocks, prefix: Prefix) -> std::io::Result<Self> {
        let (signals, received) = channel();
        let computed = signals.clone();
        let thread = std::thread::Builder::new()
            .name("moss-prompt-cache".into())
            .spawn(move || {
                let then = move || drop(computed.send(Signal::Computed));
                if blocks.when_computed(&prefix.ids, then).is_ok() {
                    wait_and_write(&cache, &blocks, &prefix, &received);
                }
            })?;
        Ok(Self { signals, thread })
    }
}

fn wait_and_write(
    cache: &PromptCache,
    blocks: &PrefixBlocks,
    prefix: &Prefix,
    signals: &Receiver<Signal>,
) {
    match signals.recv() {
        Ok(Signal::Computed) => {}
        // The worker thread may not have sent `Computed` yet.
        Ok(Signal::Stop) if matches!(blocks.read(&prefix.ids), Ok(Some(_))) => {}
        _ => return,
    }
    let began = Instant::now();
    match write(cache, blocks, prefix) {
        Ok(true) => tracing::info!(elapsed = ?began.elapsed(), "prompt cache written"),
        Ok(false) => tracing::info!("prompt cache not written"),
        Err(error) => tracing::warn!(%error, "the prompt cache was not written"),
    }
}

/// Reads a file into the engine. Counts `tokens`; returns true if all blocks were read.
fn read(
    cache: &PromptCache,
    blocks: &PrefixBlocks,
    prefix: &Prefix,
    tokens: &mut usize,
) -> Result<bool, StoreError> {
    let Some(mut reader) = cache.open(prefix)? else {
        return Ok(false);
    };
    while let Some(bytes) = reader.next_block()? {
        let end = *tokens + prefix.block_size;
        if !blocks.write(&prefix.ids[..end], bytes)? {
            return Ok(false);
        }
        *tokens = end;
    }
    Ok(true)
}

/// Writes the blocks of the engine to a file. Returns false if a block was evicted, or if another
/// process writes to the cache.
fn write(cache: &PromptCache, blocks: &PrefixBlocks, prefix: &Prefix) -> Result<bool, StoreError> {
    let Some(mut writer) = cache.create(prefix)? else {
        return Ok(false);
    };
    for end in (1..=prefix.blocks()).map(|block| block * prefix.block_size) {
        let Some(bytes) = blocks.read(&prefix.ids[..end])? else {
            return Ok(false);
        };
        writer.add_block(&bytes)?;
    }
    writer.finish()?;
    Ok(true)
}
