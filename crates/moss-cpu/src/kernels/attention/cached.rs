//! Element types of the KV cache.

use half::{bf16, f16};

use crate::kernels::element::Element;

/// An element type of the KV cache.
pub(crate) trait Cached: Element {
    /// Elements that store the scale of a position and head; 0 if it has none.
    const SCALE: usize;

    /// Returns the scale that [`Cached::SCALE`] elements store.
    fn scale(stored: &[Self]) -> f32;
}

macro_rules! without_scales {
    ($($element:ty),+) => {$(
        impl Cached for $element {
            const SCALE: usize = 0;

            fn scale(_stored: &[Self]) -> f32 {
                1.0
            }
        }
    )+};
}

without_scales!(f32, f16, bf16);

impl Cached for u8 {
    const SCALE: usize = size_of::<f16>();

    #[inline(always)]
    fn scale(stored: &[Self]) -> f32 {
        let bytes = stored.first_chunk().copied().unwrap_or_default();
        f16::from_le_bytes(bytes).to_f32()
    }
}
