//! The threads that convert and encode: a fixed number, shared by all tasks, so that their memory stays where it is.

use super::error::TransferError;
use crate::base::clock;
use crate::metrics::METERS;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the threads; they end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Cpu {
    slots: Arc<Semaphore>,
    jobs: SyncSender<Job>,
    threads: usize,
}

impl Cpu {
    /// `threads` threads; 0 = one for each processor.
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        };
        let (jobs, queue) = sync_channel(threads);
        let queue = Arc::new(Mutex::new(queue));
        let start = |n| {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("convert-{n}")).spawn(move || work(&queue))
        };
        // Where the system gives no more threads, those that there are do the work.
        let threads = (0..threads).map_while(|n| start(n).ok()).count().max(1);
        Self { slots: Arc::new(Semaphore::new(threads)), jobs, threads }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` when a thread is free; in the order of asking.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TransferError> {
        let gone = || TransferError::Worker("its thread is gone".into());
        let slot = self.slots.clone().acquire_owned().await;
        let (result, done) = oneshot::channel();
        let job = move || {
            let began = clock::monotonic();
            // Nothing that the panic left half done is used again: the caller gets no value.
            let done = catch_unwind(AssertUnwindSafe(work));
            METERS.converting.add(clock::since(began));
            METERS.conversions.add(1);
            let _ = result.send(done);
            drop(slot);
        };
        // The queue has a place for each slot.
        self.jobs.try_send(Box::new(job)).map_err(|_| gone())?;
        done.await.map_err(|_| gone())?.map_err(|_| TransferError::Worker("it panicked".into()))
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let cpu = Cpu::new(1);
        assert!(matches!(cpu.run(|| panic!("on purpose")).await, Err::<(), _>(TransferError::Worker(_))));
        assert_eq!(cpu.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn no_more_work_runs_at_once_than_there_are_threads() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let cpu = Cpu::new(2);
        let jobs = (0..20).map(|_| {
            cpu.run(|| {
                let running = NOW.fetch_add(1, SeqCst) + 1;
                std::thread::sleep(Duration::from_millis(1));
                NOW.fetch_sub(1, SeqCst);
                running
            })
        });
        let most = futures_util::future::join_all(jobs).await.into_iter().map(Result::unwrap).max();
        assert!(most <= Some(2), "{most:?}");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_frees_its_thread() {
        let cpu = Cpu::new(1);
        drop(tokio::time::timeout(Duration::ZERO, cpu.run(|| std::thread::sleep(Duration::from_millis(20)))).await);
        assert_eq!(cpu.run(|| 7).await.unwrap(), 7);
    }
}
