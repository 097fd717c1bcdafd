//! Keeps the view up to date: a round asks one endpoint for everything since the cursor and commits it with the new
//! cursor; if that endpoint fails, the next one is asked. When the cursor's block is no longer on the chain, the newest
//! known block that is becomes the cursor, and what the blocks above it touched is read again; a reorganisation deeper
//! than the window starts over. Until either is done the view counts as stale.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::rpc::types::Log;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{
    check::{Misfit, Range},
    events::{Key, News},
    reader::{Endpoint, Flaw, ReaderError},
    rounds::ROUND_SPACING,
    rpc::Header,
    tables::Batch,
    view::{View, ViewError},
    window::{Block, Cursor, window_start},
};
use crate::metrics::Metrics;

/// Blocks asked for at once: what public endpoints commonly allow. Halved while an endpoint refuses.
const BLOCKS_PER_QUERY_MAX: u64 = 1_000;
/// Questions to one endpoint at a time.
const QUESTIONS_AT_ONCE: usize = 16;
/// When an endpoint has had no new block for so long, the others are asked whether they have: less than half of the time
/// between two blocks of the slower chains.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// What the follower needs.
pub(crate) struct Follower {
    view: Arc<View>,
    metrics: Arc<Metrics>,
    interval: Duration,
    blocks_per_query: AtomicU64,
}

/// Where a round begins.
struct Start {
    /// The block below the first that is new, if the view knows it.
    below: Option<Cursor>,
    next: u64,
    /// What the first commit does besides.
    batch: Batch,
}

impl Follower {
    pub(crate) const fn new(view: Arc<View>, metrics: Arc<Metrics>, interval: Duration) -> Self {
        Self { view, metrics, interval, blocks_per_query: AtomicU64::new(BLOCKS_PER_QUERY_MAX) }
    }

    /// Runs until told to stop. Every failure is tried again in the next round; readiness shows it meanwhile.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut newest, mut news_at) = (0, Instant::now());
        loop {
            let started = Instant::now();
            self.view.rounds.start();
            let outcome = self.round().await;
            let succeeded = outcome.is_ok();
            match outcome {
                Ok((place, block)) => {
                    self.view.set_freshness(|freshness| {
                        freshness.caught_up = Some(started);
                        (freshness.seen, freshness.wrong_chain) = (true, false);
                        freshness.block = block;
                        freshness.problem = None;
                    });
                    self.view.reader().prefer(place);
                    if block != newest {
                        (newest, news_at) = (block, started);
                    } else if news_at.elapsed() > QUIET_MAX {
                        news_at = started;
                        self.view.reader().prefer_one_ahead_of(block).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the chain could not be followed");
                    self.metrics.chain_failures.increment(1);
                    let is_wrong = matches!(&error, ViewError::Reader(error) if error.flaw() == Some(Flaw::WrongChain));
                    self.view.set_freshness(|freshness| {
                        freshness.wrong_chain = is_wrong;
                        freshness.problem = Some(error.to_string());
                    });
                }
            }
            self.view.rounds.end(succeeded);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pause(started) => {}
            }
        }
    }

    /// Until the next round is due, or somebody waits for one.
    async fn pause(&self, started: Instant) {
        tokio::time::sleep_until((started + ROUND_SPACING.min(self.interval)).into()).await;
        let _ = tokio::time::timeout(self.interval.saturating_sub(started.elapsed()), self.view.rounds.wanted()).await;
    }

    /// Follows to the head of the first endpoint that lets it. Returns its place, and the head.
    async fn round(&self) -> Result<(usize, u64), ViewError> {
        self.view.reload_if_unsure().await?;
        let mut last = ReaderError::NotFollowed;
        for (place, endpoint) in self.view.reader().in_turn() {
            match self.follow(place, endpoint).await {
                Ok(head) => return Ok((place, head)),
                Err(ViewError::Reader(error)) => {
                    tracing::debug!(place, %error, "an RPC endpoint is passed over");
                    if let Some(flaw) = error.flaw() {
                        self.metrics.chain_endpoint_failures.of(flaw).increment(1);
                    }
                    last = endpoint.failed(error);
                }
                Err(other) => return Err(other),
            }
        }
        Err(last.into())
    }

    async fn follow(&self, place: usize, endpoint: &Endpoint) -> Result<u64, ViewError> {
        endpoint.ensure_right_chain().await?;
        let head = endpoint.head().await?;
        let Start { below, next, batch } = self.start(place, endpoint, head).await?;
        let reorganised = batch.start_over || batch.rewound_to.is_some();
        if next > head && self.view.tables().unread.is_empty() {
            return Ok(head);
        }
        let missing = ReaderError::Behind { given: head, known: head };
        let target = endpoint.header(head).await?.ok_or(missing)?;
        let mut reached = self.step(place, endpoint, next, below, &target, batch).await?;
        if reorganised {
            self.metrics.chain_reorganisations.increment(1);
        }
        while reached.block < head {
            reached = self.step(place, endpoint, reached.block + 1, Some(reached), &target, Batch::default()).await?;
        }
        Ok(head)
    }

    /// Compares the view with the endpoint's chain.
    async fn start(&self, place: usize, endpoint: &Endpoint, head: u64) -> Result<Start, ViewError> {
        let deployed_in = self.view.reader().deployment().block;
        let Some(cursor) = self.view.cursor() else {
            return Ok(Start { below: None, next: deployed_in, batch: Batch::default() });
        };
        // It lags, or the new branch is still shorter. Either ends by asking another, or by waiting.
        let behind = ReaderError::Behind { given: head, known: cursor.block };
        if head < cursor.block {
            return Err(behind.into());
        }
        if endpoint.header(cursor.block).await?.ok_or(behind)?.hash == cursor.hash {
            return Ok(Start { below: Some(cursor), next: cursor.block + 1, batch: Batch::default() });
        }
        endpoint.check_chain().await?;
        let ancestor = self.ancestor(endpoint).await?;
        if ancestor.is_none() {
            self.refuse_to_forget(place, endpoint, cursor).await?;
        }
        tracing::warn!(block = cursor.block, ancestor = ancestor.map(|block| block.block), "the chain was reorganised");
        self.view.set_freshness(|freshness| {
            freshness.caught_up = None;
            freshness.problem = Some("the chain was reorganised".to_owned());
        });
        let Some(ancestor) = ancestor else {
            let batch = Batch { start_over: true, ..Batch::default() };
            return Ok(Start { below: None, next: deployed_in, batch });
        };
        let unread = self.view.tables().window.touched_above(ancestor.block);
        let batch = Batch { rewound_to: Some(ancestor.block), unread, ..Batch::default() };
        Ok(Start { below: Some(ancestor), next: ancestor.block + 1, batch })
    }

    /// The newest block of the window that is still on the chain, if there is one.
    async fn ancestor(&self, endpoint: &Endpoint) -> Result<Option<Cursor>, ViewError> {
        let known = self.view.tables().window.hashes();
        // Those on the chain are the first ones: bisect.
        let (mut on_chain, mut unknown) = (0, known.len());
        while on_chain < unknown {
            let middle = on_chain.midpoint(unknown);
            let (number, hash) = known[middle];
            if endpoint.header(number).await?.is_some_and(|header| header.hash == hash) {
                on_chain = middle + 1;
            } else {
                unknown = middle;
            }
        }
        Ok(on_chain.checked_sub(1).map(|last| Cursor { block: known[last].0, hash: known[last].1 }))
    }

    /// Before everything is forgotten: the contracts stand on this chain, and no other endpoint still has the block that
    /// this one denies.
    async fn refuse_to_forget(&self, place: usize, endpoint: &Endpoint, cursor: Cursor) -> Result<(), ViewError> {
        let head = endpoint.head().await?;
        let missing = ReaderError::Behind { given: head, known: cursor.block };
        let header = endpoint.header(head).await?.ok_or(missing)?;
        endpoint.node_count(header.hash).await?;
        for (_, other) in self.view.reader().in_turn().filter(|(other, _)| *other != place) {
            let holds = async {
                other.ensure_right_chain().await?;
                other.header(cursor.block).await
            };
            if holds.await.is_ok_and(|block| block.is_some_and(|block| block.hash == cursor.hash)) {
                return Err(ReaderError::from(Misfit::Unlinked(cursor.block)).into());
            }
        }
        Ok(())
    }

    /// Applies the next blocks, as many as the endpoint tells of at once, and returns the last. When that is the target,
    /// what waits to be read is read there.
    async fn step(
        &self,
        place: usize,
        endpoint: &Endpoint,
        from: u64,
        below: Option<Cursor>,
        target: &Header,
        mut batch: Batch,
    ) -> Result<Cursor, ViewError> {
        let head = target.number();
        let (to, logs) = self.logs(endpoint, from, head).await?;
        let headers = headers(endpoint, from, to, head).await?;
        let deployment = self.view.reader().deployment();
        let (escrow, table) = (deployment.escrow, deployment.routing_table);
        let range = Range { from, to, below, headers: &headers, logs: &logs };
        let doubtful = range.check(escrow, table).map_err(ReaderError::from)?;
        self.ask_another(place, &headers, &doubtful).await?;
        let reached = headers.last().map_or(below, |last| Some(Cursor { block: last.number(), hash: last.hash }));
        let reached = reached.ok_or(ReaderError::Behind { given: head, known: from })?;
        if reached.block == head && reached.hash != target.hash {
            return Err(ReaderError::from(Misfit::Unlinked(head)).into());
        }

        let news = News::from_logs(&logs, escrow, table);
        let gate = self.view.hold().await;
        let waiting = self.prepare(&mut batch, news, &headers);
        if reached.block == head {
            let reading =
                stream::iter(waiting).map(|key| endpoint.read(key, target.hash)).buffer_unordered(QUESTIONS_AT_ONCE);
            reading
                .try_for_each(|record| {
                    batch.take(record);
                    futures_util::future::ok(())
                })
                .await?;
            batch.all_read = true;
        } else {
            batch.unread = waiting;
        }
        self.view.commit(batch, gate).await?;
        Ok(reached)
    }

    /// Puts what the events say into the batch, and returns what has to be read.
    fn prepare(&self, batch: &mut Batch, news: News, headers: &[Header]) -> BTreeSet<Key> {
        let tables = self.view.tables();
        let mut waiting = std::mem::take(&mut batch.unread);
        waiting.extend(&tables.unread);
        let to_read = |key: &Key| matches!(key, Key::Node(_) | Key::Lane(..) | Key::Mandate(..)) && tables.follows(key);
        waiting.extend(news.keys().into_iter().filter(to_read));
        batch.blocks = headers
            .iter()
            .map(|header| {
                let touched = news.touched.get(&header.number()).into_iter().flatten();
                let touched = touched.filter(|key| tables.follows(key)).copied().collect();
                Block { number: header.number(), hash: header.hash, touched }
            })
            .collect();
        batch.routes = news.routes;
        batch.delegates = news.delegates.into_iter().map(|((payer, signer), may)| (payer, signer, may)).collect();
        batch.tariffs = news.tariffs;
        waiting
    }

    /// The logs of as many blocks as the endpoint gives at once, and the last of these blocks.
    async fn logs(&self, endpoint: &Endpoint, from: u64, head: u64) -> Result<(u64, Vec<Log>), ReaderError> {
        if from > head {
            return Ok((head, Vec::new()));
        }
        loop {
            let count = self.blocks_per_query.load(Ordering::Relaxed);
            let to = head.min(from.saturating_add(count - 1));
            match endpoint.logs(from, to).await {
                Ok(logs) => {
                    self.blocks_per_query.store(BLOCKS_PER_QUERY_MAX.min(count * 2), Ordering::Relaxed);
                    return Ok((to, logs));
                }
                Err(error) if error.is_too_much() && to > from => {
                    self.blocks_per_query.store(((to - from) / 2).max(1), Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the other endpoints about blocks that may have logs which did not come.
    async fn ask_another(&self, place: usize, headers: &[Header], doubtful: &[u64]) -> Result<(), ReaderError> {
        let (Some(first), Some(last)) = (doubtful.first(), doubtful.last()) else { return Ok(()) };
        for (_, other) in self.view.reader().in_turn().filter(|(other, _)| *other != place) {
            let second_opinion = async {
                other.ensure_right_chain().await?;
                Ok::<_, ReaderError>(other.logs(*first, *last).await?)
            };
            let Ok(logs) = second_opinion.await else { continue };
            let belongs = |log: &&Log| headers.iter().any(|header| log.block_hash == Some(header.hash));
            let missing = logs.iter().filter(belongs).filter_map(|log| log.block_number);
            if let Some(block) = missing.into_iter().find(|block| doubtful.contains(block)) {
                return Err(Misfit::Withheld(block).into());
            }
        }
        Ok(())
    }
}

/// The last block of a range, and of the blocks before it those that belong to the window below `head`.
async fn headers(endpoint: &Endpoint, from: u64, to: u64, head: u64) -> Result<Vec<Header>, ReaderError> {
    let missing = |number| ReaderError::Behind { given: number, known: head };
    // Nothing at all where `from` is above `to`.
    let first = from.max(window_start(head).min(to));
    stream::iter(first..=to)
        .map(|number| async move { endpoint.header(number).await?.ok_or_else(|| missing(number)) })
        .buffered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await
}
