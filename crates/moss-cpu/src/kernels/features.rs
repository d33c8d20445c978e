//! Safe methods of types that prove an instruction set.

/// Defines methods whose bodies are compiled with `$features`, in which the intrinsics of these
/// features are safe to call.
///
/// May be used only in implementations for types that are witnesses: a value exists only if
/// `detect` has found `$features` on this processor.
macro_rules! with_features {
    ($features:literal $(
        $(#[$attribute:meta])*
        fn $name:ident $(<const $parameter:ident: $kind:ty>)?
        (self $(, $argument:ident: $ty:ty)* $(,)?) $(-> $output:ty)? $body:block
    )*) => {$(
        $(#[$attribute])*
        #[inline(always)]
        fn $name $(<const $parameter: $kind>)? (self $(, $argument: $ty)*) $(-> $output)? {
            #[target_feature(enable = $features)]
            #[inline]
            fn with_features $(<const $parameter: $kind>)? ($($argument: $ty),*) $(-> $output)? {
                $body
            }
            // SAFETY: the function has no precondition but its features, and `self` is a value of a
            // type whose only constructor, `detect`, has found them on this processor.
            unsafe { with_features $(::<$parameter>)? ($($argument),*) }
        }
    )*};
}

pub(super) use with_features;
