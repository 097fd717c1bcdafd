//! Which addresses a name may lead to. What the resolver gives out is what the connector connects to: there is no second
//! look-up in which a name could have changed its mind.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use minus_protocol::endpoint::is_public;
use tower_service::Service;

use super::EgressError;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// How names are looked up.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// As the operating system is set up.
pub(super) fn system() -> Lookup {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

/// Gives out public addresses only, unless private ones are allowed.
#[derive(Clone)]
pub(super) struct PublicOnly {
    pub(super) allow_private: bool,
    pub(super) lookup: Lookup,
}

impl Service<Name> for PublicOnly {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = EgressError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looking = (self.lookup)(name.as_str().to_owned());
        let allow_private = self.allow_private;
        Box::pin(async move {
            let mut found = looking.await.map_err(|_| EgressError::Unresolved)?;
            if found.is_empty() {
                return Err(EgressError::Unresolved);
            }
            found.retain(|address| allow_private || is_public(address.ip()));
            found.truncate(ADDRESSES_MAX);
            if found.is_empty() { Err(EgressError::Private) } else { Ok(found.into_iter()) }
        })
    }
}
