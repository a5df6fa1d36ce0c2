//! What each fuzz target does with its bytes: reads them as the daemon would, and panics where a promise is broken.

mod disk;
mod record;
mod text;
mod wire;

pub use disk::{ledger, manifest};
pub use record::records;
pub use text::{auth_env, config};
pub use wire::{answers, control, paging};

/// The secret that no message may show.
const CANARY: &str = "c4nary9f3aB7";
