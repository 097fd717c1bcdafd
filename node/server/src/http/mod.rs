//! The public surface, in the order of a request: `serve` accepts connections, `places` bounds them and `sockets` finds
//! those that are gone, `body` reads what comes, `surface` looks at the address and nothing else, then one of `commands`
//! (own address), `deposit` (a customer's wallet) or `forward` (anything else). `bundling` puts what is forwarded to one agent at
//! the same moment into one request, `bundled` is that agent's side of it.
//! `subscribe` is the stream that a subscription is answered with, `streaming` how streams are written, `answer` how other
//! answers look, `reason` why one is not
//! served.

pub(crate) mod answer;
pub(crate) mod body;
mod bundled;
mod bundling;
pub(crate) mod commands;
pub(crate) mod deposit;
pub(crate) mod forward;
pub(crate) mod places;
pub(crate) mod reason;
pub(crate) mod serve;
mod sockets;
pub(crate) mod streaming;
pub(crate) mod subscribe;
pub(crate) mod surface;
