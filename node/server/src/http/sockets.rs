//! Peers that are gone without saying so. A host that vanished, or a link that went down, leaves a connection open that
//! nothing comes from any more; a reader that stops reading leaves one that nothing goes into. Either holds a place and what
//! was to be said. Both are found within `stall_timeout`, counted from the first bytes that are not taken; on a stream some
//! are sent every `keep_alive`.

use std::{pin::Pin, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// A connection whose writes end in an error when nothing of them is taken in time. In a box, because its timers must not
/// move.
pub(crate) type Watched = Pin<Box<TimeoutStream<TcpStream>>>;

/// Silence, in parts of the timeout, after which the kernel asks a peer whether it is there: an idle connection is found
/// dead within the timeout as well.
const PROBES_PER_TIMEOUT: u32 = 4;
/// The least pause between two probes that the kernel knows.
const PROBE_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Has the kernel and the write timer watch a connection. What the kernel does not support is left out.
pub(crate) fn watch(stream: TcpStream, stall_timeout: Duration) -> Watched {
    // Events are small and late is worse than often.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let pause = (stall_timeout / PROBES_PER_TIMEOUT).max(PROBE_PAUSE_MIN);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(pause).with_interval(pause));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(stall_timeout));
    let mut watched = TimeoutStream::new(stream);
    watched.set_write_timeout(Some(stall_timeout));
    Box::pin(watched)
}
