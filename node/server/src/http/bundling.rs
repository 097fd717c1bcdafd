//! As relay: packets that go to one agent, and are ready on one core at the same moment, go in one request (see
//! `relay::line`). Whatever one would have met alone, each meets here: its answer, or the same failure. A task of its own
//! brings them, so that a client that goes away takes nobody else's packet with it, and what its packet came to is counted
//! nevertheless.

use std::sync::Arc;

use alloy::primitives::Address;
use bytes::Bytes;
use minus_protocol::{
    Judgement, Status,
    bundle::{BUNDLE_PACKETS_MIN, split_answers},
};
use tokio::{sync::oneshot, task::yield_now};

use super::forward::{self, Leg};
use crate::{
    cores,
    egress::{Answer, Content, EgressError},
    node::Node,
    relay::{
        line::{self, Line, Load, Ride, Rider, Turn, Waiting},
        peers::{ANSWER_TIMEOUT, Agent},
    },
};

/// Larger packets go alone: what a request costs is little beside what they do.
pub(super) const SHARED_BYTES_MAX: usize = 16 << 10;

/// A packet's place in the line. Left when nobody waits for the packet any more.
struct Place<'a> {
    line: &'a Line,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Not sent yet, and so void.
            drop(self.line.leave(number));
        }
    }
}

/// Takes a packet to an agent together with whatever else is ready to go there. None when the node ends meanwhile.
pub(super) async fn ride(node: &Arc<Node>, to: Address, agent: &Arc<Agent>, rider: Rider) -> Option<(Rider, Ride)> {
    let core = cores::current();
    let line = agent.line(core);
    let (answer, answered) = oneshot::channel();
    let (number, turn) = line.join(Waiting { rider, answer });
    let mut place = Place { line, number: Some(number) };
    match turn {
        Turn::First => {
            yield_now().await;
            if let Some(alone) = line.leave_uncalled(number) {
                place.number = None;
                return Some((alone.rider, Ride::Judged(Judgement::Alone)));
            }
        }
        Turn::Second => {
            tokio::spawn(fetch(Arc::clone(node), to, Arc::clone(agent), core));
        }
        Turn::Later => {}
    }
    let ridden = answered.await.ok();
    place.number = None;
    ridden
}

/// Takes everybody who waits when all else that was ready has run.
async fn fetch(node: Arc<Node>, to: Address, agent: Arc<Agent>, core: usize) {
    yield_now().await;
    let mut loads = line::loads(agent.line(core).take());
    let last = loads.pop();
    for load in loads {
        tokio::spawn(bring(Arc::clone(&node), to, Arc::clone(&agent), load));
    }
    if let Some(load) = last {
        bring(node, to, agent, load).await;
    }
}

/// Brings a load to its agent and hands each what became of it.
async fn bring(node: Arc<Node>, to: Address, agent: Arc<Agent>, Load { bundle, riders }: Load) {
    let hand = |Waiting { rider, answer }, ride| {
        let unheard = answer.send((rider, ride));
        if let Err((Rider { packet, debit, .. }, Ride::Judged(Judgement::Answered { status, metered, body }))) = unheard
            && status == Status::Stored
        {
            let leg = Leg { to, agent: &agent, forwarding: &debit.forwarding, packet: &packet };
            forward::stored(&node, leg, &body, Some(metered));
        }
    };
    if riders.len() < BUNDLE_PACKETS_MIN {
        for one in riders {
            hand(one, Ride::Judged(Judgement::Alone));
        }
        return;
    }
    let first = &riders[0].rider;
    let brought = match node.egress.post_bundle(&first.endpoint, &first.token, &bundle, ANSWER_TIMEOUT).await {
        Ok(answer) => understood(answer, riders.len()).await,
        Err(error) => Err(error),
    };
    node.metrics.request_packets.record(f64::from(u32::try_from(riders.len()).unwrap_or(u32::MAX)));
    first.debit.forwarding.answered(!matches!(&brought, Err(error) if error.is_timeout()));
    match brought {
        Ok(Brought::Judged(judgements)) => {
            for (one, judgement) in riders.into_iter().zip(judgements) {
                hand(one, Ride::Judged(judgement));
            }
        }
        Ok(Brought::NotTaken) => {
            agent.refuses_bundles(&first.token);
            for one in riders {
                hand(one, Ride::Judged(Judgement::Alone));
            }
        }
        Ok(Brought::Refused(status, body)) => {
            for one in riders {
                hand(one, Ride::Judged(Judgement::Answered { status, metered: 0, body: body.clone() }));
            }
        }
        Err(error) => {
            for one in riders {
                hand(one, Ride::Failed(error.clone()));
            }
        }
    }
}

/// What an agent made of a bundle.
enum Brought {
    Judged(Vec<Judgement>),
    /// It knows no bundles, or not this one: nothing was stored.
    NotTaken,
    /// It refused the whole, whatever was in it.
    Refused(Status, Bytes),
}

/// An answer to so many packets.
async fn understood(answer: Answer, packets: usize) -> Result<Brought, EgressError> {
    let (code, content) = (answer.status().as_u16(), answer.content());
    let status = Status::from_code(code).ok_or_else(|| forward::no_status(answer.status()))?;
    let body = answer.read(ANSWER_TIMEOUT).await?;
    match status {
        Status::Answered if content == Content::Bundle => {
            split_answers(body, packets).map(Brought::Judged).map_err(|_| EgressError::Garbled)
        }
        // That they are stored, or obeyed, it has to say of each.
        Status::Answered | Status::Stored => Err(EgressError::Garbled),
        Status::Malformed | Status::TooLarge => Ok(Brought::NotTaken),
        refusal => Ok(Brought::Refused(refusal, body)),
    }
}
