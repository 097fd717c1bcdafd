//! Where connections are served: one small runtime for each processor, and each connection stays with one of them. So a
//! packet that passes through this node is read, sent on and answered by one thread, over sockets that this thread waits
//! for, and no other has to be woken for it. Everything that is not a connection runs on the runtime that `spawn` was
//! called on.

use std::{cell::Cell, io, thread};

use tokio::runtime::{Builder, Handle, Runtime};

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the core that this runs on; 0 off them all.
pub(crate) fn current() -> usize {
    NUMBER.get()
}

/// As many as there are processors.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The runtimes. Dropped, they end whatever still runs on them; until then the store may use what was opened there.
#[derive(Debug)]
pub(crate) struct Cores(Vec<Runtime>);

impl Cores {
    /// Starts them all.
    pub(crate) fn start() -> io::Result<Self> {
        // With one worker each. A runtime without workers would be cheaper by little, but is woken by a system call each
        // time that another thread has something for it, whether it sleeps or not; and every commit has something.
        let start = |number| {
            let name = format!("minus-core-{number}");
            let numbered = move || NUMBER.set(number);
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(name)
                .on_thread_start(numbered)
                .enable_all()
                .build()
        };
        (0..count()).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Each in its turn: what lasts is dealt out evenly.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = Handle> + Send + use<> {
        let handles: Vec<_> = self.0.iter().map(|runtime| runtime.handle().clone()).collect();
        handles.into_iter().cycle()
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        for runtime in self.0.drain(..) {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_on_one_stays_there_and_the_next_has_the_next() {
        let cores = Cores::start().expect("threads");
        let count = cores.0.len();
        let mut threads = Vec::new();
        for core in cores.in_turn().take(2 * count) {
            let stays = core.spawn(async {
                let before = (thread::current().id(), current());
                tokio::task::yield_now().await;
                (before, (thread::current().id(), current()))
            });
            let (before, after) = stays.await.expect("no panic");
            assert_eq!(before, after);
            assert_eq!(before.1, threads.len() % count);
            threads.push(before.0);
        }
        assert_eq!(threads[..count], threads[count..]);
        threads.truncate(count);
        threads.dedup();
        assert_eq!(threads.len(), count, "each has its own");
    }

    #[tokio::test]
    async fn what_still_runs_ends_with_them() {
        let cores = Cores::start().expect("threads");
        let core = cores.in_turn().next().expect("at least one");
        let endless = core.spawn(std::future::pending::<()>());
        drop(cores);
        assert!(endless.await.expect_err("it was ended").is_cancelled());
    }
}
