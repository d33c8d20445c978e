//! The identity of a GPU and its stream, by which buffers are matched with launches.

use std::sync::atomic::{AtomicU64, Ordering};

use moss_weights::KernelError;

/// A GPU and one of its streams. Memory is used on the stream on which it was allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId {
    ordinal: usize,
    stream: u64,
}

impl DeviceId {
    /// Returns the identity of a new stream of GPU `ordinal`.
    pub(crate) fn new_stream(ordinal: usize) -> Self {
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        Self { ordinal, stream }
    }

    /// Checks that argument `arg` of `op`, which belongs to `found`, can be used on this stream.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`] for another GPU; [`KernelError::WrongStream`] for another
    /// stream of this GPU.
    pub(crate) fn check(
        self,
        op: &'static str,
        arg: &'static str,
        found: Self,
    ) -> Result<(), KernelError> {
        if found.ordinal != self.ordinal {
            let (found, expected) = (found.ordinal, self.ordinal);
            return Err(KernelError::WrongDevice {
                op,
                arg,
                found,
                expected,
            });
        }
        if found.stream != self.stream {
            let gpu = self.ordinal;
            return Err(KernelError::WrongStream { op, arg, gpu });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_same_stream_is_accepted() {
        let id = DeviceId::new_stream(1);
        assert!(id.check("linear", "x", id).is_ok());
    }

    #[test]
    fn memory_of_another_gpu_is_rejected_with_both_gpus_named() {
        let (first, second) = (DeviceId::new_stream(0), DeviceId::new_stream(1));
        let error = first.check("linear", "x", second);
        assert!(
            matches!(
                error,
                Err(KernelError::WrongDevice {
                    op: "linear",
                    arg: "x",
                    found: 1,
                    expected: 0
                })
            ),
            "{error:?}"
        );
    }

    #[test]
    fn memory_of_another_stream_of_the_same_gpu_is_rejected() {
        let (first, second) = (DeviceId::new_stream(0), DeviceId::new_stream(0));
        let error = first.check("linear", "x", second);
        assert!(
            matches!(error, Err(KernelError::WrongStream { gpu: 0, .. })),
            "{error:?}"
        );
    }
}
