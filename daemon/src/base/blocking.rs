//! Short calls that may wait for a disk, on a thread of the async runtime.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` on this very thread, whose other work another thread takes over meanwhile: a mount that hangs stops its caller
/// alone. Handing over takes some ten microseconds: what is done for each page of an export is for blocking threads.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    if takes_over() { tokio::task::block_in_place(work) } else { work() }
}

/// Whether this thread is one of several that an async runtime has, or may have.
pub fn takes_over() -> bool {
    Handle::try_current().is_ok_and(|threads| threads.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Each waits for another one's word, on a single thread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_waits_for_a_disk_holds_up_nobody() {
        let (say, said) = mpsc::channel();
        let waits = tokio::spawn(async move { aside(|| said.recv_timeout(Duration::from_secs(10))) });
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::spawn(async move { say.send(7).unwrap() }).await.unwrap();
        assert_eq!(waits.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn where_there_is_one_thread_alone_it_waits() {
        assert_eq!(aside(|| aside(|| 7)), 7);
    }
}
