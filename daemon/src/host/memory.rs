//! Tells the system's allocator to give back what a page or a row group has left.

/// The largest piece that the C library's allocator takes from a heap of its own. Smaller ones are bodies and columns of
/// most pages, which come and go all the time: mapping each anew took a quarter of the processor's time.
#[cfg(target_env = "gnu")]
const FROM_HEAP: std::ffi::c_int = 1 << 20;

/// What is kept free at a heap's end: about what pages on their way take. With less, the buffer of each answer was given back to the
/// system and faulted in anew, a hundred faults a page.
#[cfg(target_env = "gnu")]
const KEPT: std::ffi::c_int = 8 << 20;

/// Heaps of that allocator: few threads do most of the work, more would only keep freed memory apart.
#[cfg(target_env = "gnu")]
const ARENAS: std::ffi::c_int = 2;

/// Fixes the allocator's thresholds. It would raise them with each large piece that is freed, and then keep such pieces
/// between small ones that live longer, so that a long export's peak is above a short one's (mallopt(3)). Call it before
/// there are other threads.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (nix::libc::M_ARENA_MAX, ARENAS),
        (nix::libc::M_MMAP_THRESHOLD, FROM_HEAP),
        (nix::libc::M_TRIM_THRESHOLD, KEPT),
        (nix::libc::M_TOP_PAD, 0),
    ] {
        #[expect(unsafe_code, reason = "no safe wrapper of mallopt, which takes two numbers")]
        unsafe {
            nix::libc::mallopt(setting, value);
        }
    }
}
