//! Huge: asks the kernel for huge pages behind memory in which thousands of slabs are written in turn.
//!
//! Promises: a wish only: nothing changes but speed, and untouched memory stays untouched, in steps of 2 MiB.
//! Must not know: what the memory is for.
#![allow(unsafe_code)]

/// What Linux calls a huge page on x86-64 and on most aarch64.
#[cfg(target_os = "linux")]
const HUGE_BYTES: usize = 2 << 20;

/// Wishes for huge pages behind the whole capacity of `items`, where they fit.
pub(super) fn wish<T>(items: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        let start = items.as_mut_ptr().cast::<u8>();
        let address = start as usize;
        let from = address.next_multiple_of(HUGE_BYTES);
        let to = (address + items.capacity() * size_of::<T>()) / HUGE_BYTES * HUGE_BYTES;
        if from < to {
            // SAFETY: the range lies within memory that `items` owns, and this advice changes no byte of it. Where it is
            // refused (a kernel without huge pages) pages stay small.
            let _ = unsafe {
                madvise(start.wrapping_add(from - address).cast(), to - from, Advice::LinuxHugepage)
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = items;
}
