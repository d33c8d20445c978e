//! Fault injection for tests of `serve`, only in builds with debug assertions.
//!
//! `MOSS_INJECT_FAULT` is `panic:N`, `lost:N` or `stall:N`, a fault in forward pass N counted from
//! 0; `slow:MS`, the milliseconds per token of a forward pass; or `reply:IDS`, the tokens that the
//! model generates first, separated by commas. These need `--speculate off`.

use std::{collections::VecDeque, time::Duration};

use moss::{
    Builder,
    model::{CacheShape, LanguageModel, Logits, ModelError, MossConfig, SequenceChunk},
    weights::KernelError,
};

/// Watchdog limit for an injected stall. The default would be minutes.
const STALL_TIME: Duration = Duration::from_millis(1500);

/// An injected fault.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Injected {
    Panic(u64),
    Lost(u64),
    Stall(u64),
    Slow(u64),
    Reply(VecDeque<u32>),
}

impl Injected {
    /// Reads the environment. Returns `None` for an unknown value.
    fn read() -> Option<Self> {
        let value = std::env::var("MOSS_INJECT_FAULT").ok()?;
        let (kind, number) = value.split_once(':')?;
        if kind == "reply" {
            let ids = number.split(',').map(|id| id.parse().ok());
            return ids.collect::<Option<_>>().map(Self::Reply);
        }
        let kind = match kind {
            "panic" => Self::Panic,
            "lost" => Self::Lost,
            "stall" => Self::Stall,
            "slow" => Self::Slow,
            _ => return None,
        };
        number.parse().ok().map(kind)
    }
}

/// Wraps the model in a faulty one if the environment asks for it.
pub(crate) fn inject_fault(builder: Builder) -> Builder {
    let Some(fault) = Injected::read() else {
        return builder;
    };
    builder.wrap_model(move |model| {
        Box::new(Faulty {
            model,
            fault,
            passes: 0,
        })
    })
}

/// Returns the shortened watchdog limit for an injected stall.
pub(crate) fn stall_time() -> Option<Duration> {
    let stalls = |fault: &Injected| matches!(fault, Injected::Stall(_));
    Injected::read().filter(stalls).map(|_| STALL_TIME)
}

/// A model with an injected fault.
struct Faulty {
    model: Box<dyn LanguageModel>,
    fault: Injected,
    passes: u64,
}

impl LanguageModel for Faulty {
    fn config(&self) -> &MossConfig {
        self.model.config()
    }

    fn cache_shape(&self) -> CacheShape {
        self.model.cache_shape()
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        let pass = self.passes;
        self.passes += 1;
        match &mut self.fault {
            Injected::Panic(at) => assert!(pass != *at, "injected panic"),
            Injected::Lost(at) if pass == *at => {
                let message =
                    "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)"
                        .to_owned();
                let source = KernelError::Driver {
                    what: moss::cuda::DriverCall::Synchronize,
                    code: 700,
                    message,
                };
                return Err(ModelError::Kernel {
                    layer: 0,
                    op: "attention",
                    source,
                });
            }
            Injected::Stall(at) if pass == *at => loop {
                std::thread::park();
            },
            Injected::Slow(ms) => {
                for _ in batch.iter().flat_map(|chunk| chunk.token_ids) {
                    std::thread::sleep(Duration::from_millis(*ms));
                    if interrupted() {
                        return Err(ModelError::Interrupted);
                    }
                }
            }
            Injected::Reply(ids) => {
                let mut logits = self.model.forward(batch, interrupted)?;
                for row in logits.iter_mut().filter_map(|logits| logits.logits_of(0)) {
                    if let Some(id) = ids.pop_front() {
                        row.fill(0.0);
                        row[id as usize] = 1e6; // also after penalties
                    }
                }
                return Ok(logits);
            }
            _ => {}
        }
        self.model.forward(batch, interrupted)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.model.weight_bytes_per_token()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.model.cache_bytes_per_position()
    }

    fn prefill_chunk(&self) -> usize {
        self.model.prefill_chunk()
    }

    fn prefill_tile(&self) -> usize {
        self.model.prefill_tile()
    }

    fn decode_rows(&self) -> usize {
        self.model.decode_rows()
    }

    fn runs_on_cpu(&self) -> bool {
        self.model.runs_on_cpu()
    }

    fn shares_blocks(&self) -> bool {
        self.model.shares_blocks()
    }
}
