//! Faults at destinations of any kind, changed while the daemon runs: it hangs, refuses, or is slow.

use super::bed::Bed;
use std::path::PathBuf;

/// The faults of one bed; the daemon is started with [`Faults::env`].
pub struct Faults(PathBuf);

impl Faults {
    /// None yet.
    pub fn of(bed: &Bed) -> Self {
        let dir = bed.path("faults");
        std::fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    /// What the daemon is told.
    pub fn env(&self) -> (&'static str, &str) {
        ("SAAS_EXPORT_FAULTS", self.0.to_str().expect("a path of text"))
    }

    /// A destination does `what` from now on: `hang`, `refuse` or `slow MILLISECONDS`.
    pub fn set(&self, destination: &str, what: &str) {
        std::fs::write(self.0.join(destination), what).expect("a fault is written");
    }

    /// A destination is well again.
    pub fn clear(&self, destination: &str) {
        let _ = std::fs::remove_file(self.0.join(destination));
    }
}
