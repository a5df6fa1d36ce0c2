//! What a reload leaves as it is, and what it cannot know.

use crate::config::settings::Config;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The settings that count from the start to the end of the daemon; `config::diff` says that they need a restart.
pub(super) fn keep_what_is_read_once(config: &mut Config, old: &Config) {
    config.daemon.state_dir.clone_from(&old.daemon.state_dir);
    config.daemon.socket.clone_from(&old.daemon.socket);
    config.daemon.threads = old.daemon.threads;
}

/// Whether a file was changed after its copy was made. The daemon may not read the file itself, but look at it; where it
/// cannot, nothing is claimed.
pub(super) fn changed_since(file: &Path, copy: &Path) -> bool {
    // The time of the change of the inode: a file that is moved into place keeps its older time of modification.
    let changed = |path: &Path| std::fs::metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec())).ok();
    changed(file).zip(changed(copy)).is_some_and(|(file, copy)| file > copy)
}
