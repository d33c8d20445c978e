//! Addresses of device memory, as kernels take them.

use std::marker::PhantomData;

/// The address of values that a kernel reads, or null.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct In<T>(u64, PhantomData<*const T>);

/// The address of values that a kernel writes, or null.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Out<T>(u64, PhantomData<*mut T>);

impl<T> In<T> {
    pub(crate) const NULL: Self = Self(0, PhantomData);

    /// Wraps an address whose device and extent were checked: only `Call` and `CopyRun` do that.
    pub(super) fn checked(address: u64) -> Self {
        Self(address, PhantomData)
    }

    /// Returns the address, for a tensor map.
    pub(super) fn get(self) -> u64 {
        self.0
    }
}

impl<T> Out<T> {
    pub(crate) const NULL: Self = Self(0, PhantomData);

    /// Wraps an address whose device and extent were checked: only `Call` and `CopyRun` do that.
    pub(super) fn checked(address: u64) -> Self {
        Self(address, PhantomData)
    }
}

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}
