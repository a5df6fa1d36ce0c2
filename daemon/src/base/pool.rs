//! A fixed number of threads for work of the processor: jobs in the order of asking, and before them the pieces that a job
//! shares out.
//!
//! Whoever waits for work that was shared out does pieces of it, too, so that nobody ever waits for a thread to become free;
//! threads that have nothing else to do, or come free meanwhile, help.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Jobs for each thread that are in the queue or being done, so that a thread which ends one finds the next. Who asks for more
/// waits, and takes his question back without a trace.
const QUEUED: usize = 4;

/// How far the threads step behind those that wait for sockets, so that whoever asks the daemon something is answered while
/// every processor is busy.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;
type Panic = Box<dyn Any + Send>;

/// A handle to the threads; they end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    threads: usize,
    slots: Arc<Semaphore>,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Work that has pieces left, the oldest first.
    shared: Vec<Arc<dyn Shared>>,
    /// What others wait for before they can begin anything.
    first: VecDeque<Job>,
    /// So many at most for each thread as [`QUEUED`] says, those included that are being done.
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("first", &self.first.len())
            .field("shared", &self.shared.len())
            .field("jobs", &self.jobs.len())
            .finish()
    }
}

/// Why a job gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It panicked.
    Panicked,
    /// The threads are gone.
    Gone,
}

impl Pool {
    /// `threads` threads; 0 = one for each processor.
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        };
        let inner = Arc::new(Inner::default());
        let start = |n| {
            let inner = inner.clone();
            std::thread::Builder::new().name(format!("convert-{n}")).spawn(move || {
                // On Linux that of this thread alone (nice(2), setpriority(2)). Where it is refused, answers only take longer.
                let _ = rustix::process::nice(NICENESS);
                inner.work();
            })
        };
        // Where the system gives no more threads, those that there are do the work.
        let threads = (0..threads).map_while(|n| start(n).ok()).count().max(1);
        Self(Arc::new(Handle { threads, slots: Arc::new(Semaphore::new(threads * QUEUED)), inner }))
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Runs `work` when a thread is free; in the order of asking.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        let slot = self.0.slots.clone().acquire_owned().await.map_err(|_| Lost::Gone)?;
        let (job, done) = job(work, slot);
        self.0.inner.lock().jobs.push_back(job);
        self.0.inner.wake.notify_one();
        ended(done).await
    }

    /// The same, before everything else that waits: for what others wait for; the caller bounds how much there is.
    pub async fn run_first<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
        let (job, done) = job(work, ());
        self.0.inner.lock().first.push_back(job);
        self.0.inner.wake.notify_one();
        ended(done).await
    }

    /// Does `work` with each of `items`, on this thread and on those of the pool that have nothing to do; what came of them,
    /// in their order. The first are begun first. A panic of `work` goes on here, when all others have ended.
    pub fn share<T, R, F>(&self, items: Vec<T>, work: F) -> Vec<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(T) -> R + Send + Sync + 'static,
    {
        if items.len() < 2 || self.0.threads < 2 {
            return items.into_iter().map(work).collect();
        }
        self.start(items, work).wait()
    }

    /// The same, but only begun: this thread goes on with something else, and waits later.
    pub fn start<T, R, F>(&self, items: Vec<T>, work: F) -> Started<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(T) -> R + Send + Sync + 'static,
    {
        let done = Arc::new(Done::of(items.len()));
        let pieces: Arc<dyn Shared> =
            Arc::new(Pieces { todo: Mutex::new(items.into_iter().enumerate()), work, done: done.clone() });
        self.0.inner.lock().shared.push(pieces.clone());
        self.0.inner.wake.notify_all();
        Started { pieces, done, inner: self.0.inner.clone() }
    }
}

/// A job that holds `kept` until its end, and where its result comes.
fn job<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    kept: impl Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, Panic>>) {
    let (result, done) = oneshot::channel();
    let job = move || {
        // For nobody it is not done. Nothing that a panic left half done is used again: the caller gets no value.
        if !result.is_closed() {
            let _ = result.send(catch_unwind(AssertUnwindSafe(work)));
        }
        drop(kept);
    };
    (Box::new(job), done)
}

async fn ended<T>(done: oneshot::Receiver<Result<T, Panic>>) -> Result<T, Lost> {
    done.await.map_err(|_| Lost::Gone)?.map_err(|_| Lost::Panicked)
}

/// Work that was shared out. Without anybody who waits for it, what is not begun is left.
pub struct Started<R> {
    pieces: Arc<dyn Shared>,
    done: Arc<Done<R>>,
    inner: Arc<Inner>,
}

impl<R> Started<R> {
    /// Does the pieces that nobody has begun, waits for the others and returns what came of all, in order. A panic goes on here.
    pub fn wait(self) -> Vec<R> {
        while self.pieces.step() {}
        let results = self.done.wait();
        results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    }
}

impl<R> Drop for Started<R> {
    fn drop(&mut self) {
        self.pieces.leave();
        self.inner.forget(&self.pieces);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        self.inner.wake.notify_all();
    }
}

enum Next {
    Piece(Arc<dyn Shared>),
    Job(Job),
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(next) = self.next() {
            match next {
                Next::Piece(shared) => {
                    while shared.step() {}
                    self.forget(&shared);
                }
                Next::Job(job) => job(),
            }
        }
    }

    /// Waits for something to do; nothing once the pool is closed.
    fn next(&self) -> Option<Next> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.first.pop_front() {
                return Some(Next::Job(job));
            }
            // Somebody will wait for all the pieces before it goes on; a job is further ahead of its time.
            if let Some(shared) = queue.shared.first() {
                return Some(Next::Piece(shared.clone()));
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(Next::Job(job));
            }
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Offers work no more, of which every piece is begun.
    fn forget(&self, shared: &Arc<dyn Shared>) {
        self.lock().shared.retain(|known| !Arc::ptr_eq(known, shared));
    }
}

/// Work of which anybody may do a piece.
trait Shared: Send + Sync {
    /// Does a piece; false where none is left to begin.
    fn step(&self) -> bool;
    /// Gives up the pieces that are not begun.
    fn leave(&self);
}

struct Pieces<T, R, F> {
    todo: Mutex<std::iter::Enumerate<std::vec::IntoIter<T>>>,
    work: F,
    done: Arc<Done<R>>,
}

/// What came of the pieces so far.
struct Done<R> {
    results: Mutex<Results<R>>,
    all: Condvar,
}

struct Results<R> {
    /// Pieces that have not ended.
    left: usize,
    list: Vec<Option<Result<R, Panic>>>,
}

impl<R> Done<R> {
    fn of(pieces: usize) -> Self {
        let results = Results { left: pieces, list: (0..pieces).map(|_| None).collect() };
        Self { results: Mutex::new(results), all: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Results<R>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the pieces that others have begun.
    fn wait(&self) -> Vec<Result<R, Panic>> {
        let mut results = self.lock();
        while results.left > 0 {
            results = self.all.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut results.list).into_iter().flatten().collect()
    }
}

impl<T: Send, R: Send, F: Fn(T) -> R + Send + Sync> Shared for Pieces<T, R, F> {
    fn step(&self) -> bool {
        let next = self.todo.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((index, item)) = next else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(item)));
        let mut results = self.done.lock();
        if let Some(place) = results.list.get_mut(index) {
            *place = Some(result);
        }
        results.left -= 1;
        if results.left == 0 {
            self.done.all.notify_all();
        }
        true
    }

    fn leave(&self) {
        while self.todo.lock().unwrap_or_else(PoisonError::into_inner).next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let pool = Pool::new(1);
        assert_eq!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(Lost::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn no_more_work_runs_at_once_than_there_are_threads() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let pool = Pool::new(2);
        let jobs = (0..20).map(|_| {
            pool.run(|| {
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
        let pool = Pool::new(1);
        drop(tokio::time::timeout(Duration::ZERO, pool.run(|| std::thread::sleep(Duration::from_millis(20)))).await);
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[test]
    fn what_is_shared_out_comes_back_in_order() {
        for threads in 1..4 {
            let pool = Pool::new(threads);
            for count in 0..20u64 {
                let doubled = pool.share((0..count).collect(), |n| {
                    std::thread::sleep(Duration::from_micros(50 * (n % 3)));
                    2 * n
                });
                assert_eq!(doubled, (0..count).map(|n| 2 * n).collect::<Vec<_>>());
            }
        }
    }

    #[tokio::test]
    async fn what_others_wait_for_comes_first() {
        let pool = Pool::new(1);
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = |word: &'static str| {
            let told = told.clone();
            move || told.lock().unwrap().push(word)
        };
        let (running, runs) = oneshot::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let inner = pool.clone();
        let held =
            tokio::spawn(async move { inner.run(move || (running.send(()).is_ok(), gone.recv().is_ok())).await });
        runs.await.unwrap();
        let shared = tell("shared");
        let started = pool.start(vec![()], move |()| shared());
        let goes = async { go.send(()).unwrap() };
        let (later, first, ()) = tokio::join!(pool.run(tell("later")), pool.run_first(tell("first")), goes);
        assert_eq!((later, first, held.await.unwrap()), (Ok(()), Ok(()), Ok((true, true))));
        tokio::task::spawn_blocking(move || started.wait()).await.unwrap();
        assert_eq!(*told.lock().unwrap(), ["first", "shared", "later"]);
    }

    #[test]
    fn what_is_begun_goes_on_by_itself_and_can_be_left() {
        let pool = Pool::new(2);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let started = pool.start(vec![1, 2, 3], move |n| {
            counted.fetch_add(1, SeqCst);
            n * 2
        });
        let began = clock::monotonic();
        while count.load(SeqCst) < 3 {
            assert!(clock::since(began) < Duration::from_secs(10), "nobody does it");
            std::thread::yield_now();
        }
        assert_eq!(started.wait(), [2, 4, 6]);
        assert_eq!(pool.start(Vec::<u8>::new(), |n| n).wait(), Vec::<u8>::new());

        let item = Arc::new(());
        let busy = Arc::new(Barrier::new(3));
        let waits = busy.clone();
        let held = pool.start(vec![(), ()], move |()| {
            waits.wait();
        });
        drop(pool.start(vec![item.clone(), item.clone()], |_| panic!("nobody wants it")));
        assert_eq!(Arc::strong_count(&item), 1, "it is kept nowhere");
        busy.wait();
        held.wait();
    }

    /// Two pieces that wait for one another end only if two threads do them.
    #[test]
    fn pieces_are_done_at_the_same_time() {
        let both = Arc::new(Barrier::new(2));
        let threads = Pool::new(2).share(vec![(), ()], move |()| {
            both.wait();
            std::thread::current().id()
        });
        assert_eq!(threads.iter().map(|id| format!("{id:?}")).collect::<BTreeSet<_>>().len(), 2);
    }

    /// All threads are jobs that share out: each must do its own pieces, or they would wait for ever.
    #[tokio::test]
    async fn jobs_that_share_out_do_not_wait_for_one_another() {
        let pool = Pool::new(2);
        let jobs = (0..50u64).map(|n| {
            let inner = pool.clone();
            pool.run(move || inner.share((0..10).collect(), move |m| n * m).into_iter().sum::<u64>())
        });
        let sums: Vec<_> = futures_util::future::join_all(jobs).await;
        assert_eq!(sums, (0..50).map(|n| Ok(45 * n)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_of_a_piece_is_one_of_the_job() {
        let pool = Pool::new(2);
        let inner = pool.clone();
        let job = move || inner.share(vec![1, 2, 3], |n| if n == 2 { panic!("on purpose") } else { n });
        assert_eq!(pool.run(job).await, Err(Lost::Panicked));
        assert_eq!(pool.share(vec![1, 2], |n| n), [1, 2]);
    }

    #[test]
    fn threads_end_with_the_last_handle() {
        let pool = Pool::new(2);
        let inner = Arc::downgrade(&pool.0.inner);
        drop(pool);
        let began = clock::monotonic();
        while inner.strong_count() > 0 {
            assert!(clock::since(began) < Duration::from_secs(10), "a thread is still there");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
