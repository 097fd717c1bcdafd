//! Who may subscribe: each sealed command once, and what a browser's `EventSource` brought by GET again and again, because
//! it comes back with the very same URL.
//!
//! The newest signed command wins for good: whatever the wallet subscribes with next ends the older one's repeats. So two
//! tabs do not displace each other for ever, and a captured URL is worth nothing after the wallet's next subscription. Until
//! then whoever repeats it gets what is sealed under a password inside the packet, and displaces the wallet's stream, as
//! the wallet's own next repeat displaces that. Nothing is charged for it: only a signed acknowledgement pays.

use alloy::primitives::{Address, B256};
use axum::http::HeaderMap;
use minus_protocol::{Refusal, check_fresh, event_id, headers::LAST_EVENT_ID};

use super::super::commands::inside;
use crate::{
    clock,
    node::Node,
    store::{Touch, commands, customers, packets::Relay, subscriptions},
};

/// How long a subscription that came by GET may be repeated: a page that stays open for a day keeps its stream. After that
/// its `EventSource` is refused, and the page seals a new command.
const REPEATABLE_S: u64 = 86_400;

/// What a browser's `EventSource` says beside the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    /// The last event that it saw.
    pub(crate) last_event_id: Option<u64>,
}

impl Resumed {
    /// A header that is no number says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let said = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        Self { last_event_id: said.and_then(event_id) }
    }
}

/// A subscribe command whose sender is proven, before anything is known about its freshness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) wallet: Address,
    /// The packet's id.
    pub(crate) packet: B256,
    pub(crate) sent_at_ms: u64,
    /// The highest sequence number that the client holds durably.
    pub(crate) resume_after: u64,
    /// Set when it came by GET.
    pub(crate) resumed: Option<Resumed>,
    /// The relay it came through.
    pub(crate) relay: Option<Relay>,
}

/// Lets a subscription in and gives the sequence number after which it goes on. It needs no view of the chain: a customer
/// that has moved on may still fetch what is stored here.
pub(super) async fn admit(node: &Node, wish: Wish) -> Result<u64, Refusal> {
    let now_s = clock::now_s();
    if wish.resumed.is_some()
        && let Some(last_seq) = repeated(node, &wish, now_s).await?
    {
        return Ok(goes_on_after(&wish, last_seq));
    }
    if check_fresh(wish.sent_at_ms, clock::now_ms()).is_err() {
        return Err(Refusal::Stale);
    }
    // Strangers come no further than memory.
    if node.store.payer_of(wish.wallet).is_none() {
        return Err(Refusal::NotEntrusted);
    }
    let last_seq = node
        .store
        .writer()
        .touching(Touch::Nothing)
        .write(move |connection| {
            Box::pin(async move {
                let Some(wallet) = customers::wallet(&mut *connection, wish.wallet).await? else {
                    return Ok(Err(Refusal::NotEntrusted));
                };
                if !commands::first_time(connection, wish.packet, now_s).await? {
                    return Ok(Err(Refusal::Replayed));
                }
                if wish.resumed.is_some() {
                    subscriptions::permit(connection, wish.wallet, wish.packet, now_s).await?;
                } else {
                    subscriptions::forbid(connection, wish.wallet).await?;
                }
                Ok(Ok(wallet.last_seq))
            })
        })
        .await
        .map_err(inside)??;
    Ok(goes_on_after(&wish, last_seq))
}

/// The number of the wallet's last packet, if this is the GET that it may repeat.
async fn repeated(node: &Node, wish: &Wish, now_s: u64) -> Result<Option<u64>, Refusal> {
    if node.store.payer_of(wish.wallet).is_none() {
        return Ok(None);
    }
    let readers = node.store.readers();
    let permitted = subscriptions::permitted(readers, wish.wallet).await.map_err(inside)?;
    let is_it = permitted.is_some_and(|permitted| {
        // A clock that was set back makes nothing last longer.
        permitted.packet == wish.packet && now_s.abs_diff(permitted.since_s) < REPEATABLE_S
    });
    if !is_it {
        return Ok(None);
    }
    node.store.catch_up().await.map_err(inside)?;
    let wallet = customers::wallet(readers, wish.wallet).await.map_err(inside)?;
    Ok(wallet.map(|wallet| wallet.last_seq))
}

/// The larger of what the command and the browser say. Below the sealed `resume_after` nothing need be pushed again, whoever
/// asks; beyond it, what the browser saw and nobody acknowledged is still stored here, and the browser has it. Never beyond
/// what was ever stored: what comes next has to be pushed.
fn goes_on_after(wish: &Wish, last_seq: u64) -> u64 {
    let seen = wish.resumed.and_then(|resumed| resumed.last_event_id).unwrap_or(0);
    wish.resume_after.max(seen).min(last_seq)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_last_event_id_that_is_no_number_says_nothing() {
        for (said, understood) in
            [("7", Some(7)), ("0", Some(0)), ("", None), ("07", None), ("-1", None), ("7,8", None), ("ü", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, HeaderValue::from_bytes(said.as_bytes()).expect("a header"));
            assert_eq!(Resumed::of(&headers).last_event_id, understood, "{said:?}");
        }
        assert_eq!(Resumed::of(&HeaderMap::new()).last_event_id, None);
    }

    #[test]
    fn goes_on_after_what_the_command_or_the_browser_has_and_never_beyond_what_was_stored() {
        let after = |resume_after, last_event_id, last_seq| {
            let wish = Wish {
                wallet: Address::ZERO,
                packet: B256::ZERO,
                sent_at_ms: 0,
                resume_after,
                resumed: Some(Resumed { last_event_id }),
                relay: None,
            };
            goes_on_after(&wish, last_seq)
        };
        assert_eq!(after(3, None, 9), 3);
        assert_eq!(after(3, Some(5), 9), 5);
        assert_eq!(after(3, Some(1), 9), 3);
        assert_eq!(after(3, Some(u64::MAX), 9), 9);
        assert_eq!(after(u64::MAX, None, 9), 9);
    }
}
