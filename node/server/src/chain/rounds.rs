//! Lets any number of requests wait for one look at the chain: however many ask, the endpoints are asked once.

use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Rounds start this far apart, however many ask: two or three questions to an endpoint each time.
pub(super) const ROUND_SPACING: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    started: u64,
    ended: u64,
    /// Whether the last one succeeded.
    good: bool,
}

#[derive(Debug)]
pub(super) struct Rounds {
    state: watch::Sender<State>,
    wanted: Notify,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(State::default()), wanted: Notify::new() }
    }

    /// Waits for the end of a round that starts from now on. Whether it succeeded.
    pub(super) async fn next(&self) -> bool {
        let mut state = self.state.subscribe();
        let started = state.borrow_and_update().started;
        self.wanted.notify_one();
        state.wait_for(|state| state.ended > started).await.is_ok_and(|state| state.good)
    }

    /// For the follower: returns when somebody waits.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn start(&self) {
        self.state.send_modify(|state| state.started += 1);
    }

    pub(super) fn end(&self, good: bool) {
        self.state.send_modify(|state| (state.ended, state.good) = (state.started, good));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_during_a_round_get_the_next_one() {
        let rounds = Arc::new(Rounds::new());
        rounds.start();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move { rounds.next().await })
            })
            .collect();
        rounds.wanted().await;
        tokio::task::yield_now().await;
        rounds.end(true);
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
        rounds.start();
        rounds.end(false);
        for waiter in waiting {
            assert!(!waiter.await.expect("it does not panic"));
        }
    }
}
