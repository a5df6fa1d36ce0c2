//! Faults at destinations on request, so that a test can make any of them hang, refuse or be slow.
//!
//! `SAAS_EXPORT_FAULTS` names a directory; a file in it that is called like a destination says what goes wrong there: `hang`,
//! `refuse` or `slow MILLISECONDS`. Only builds with debug assertions look; a release build has no faults but real ones.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// How often a fault is looked at again while it lasts.
const LOOK: Duration = Duration::from_millis(20);

/// Passes, late or not at all, as the environment asks for.
pub async fn at(destination: &str) -> io::Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    static DIR: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    match DIR.get_or_init(|| std::env::var_os("SAAS_EXPORT_FAULTS").map(Into::into)) {
        Some(dir) => suffer(&dir.join(destination)).await,
        None => Ok(()),
    }
}

async fn suffer(file: &Path) -> io::Result<()> {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["hang"] => tokio::time::sleep(LOOK).await,
            ["refuse"] => return Err(io::ErrorKind::ConnectionRefused.into()),
            ["slow", ms] => {
                tokio::time::sleep(Duration::from_millis(ms.parse().unwrap_or(0))).await;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}
