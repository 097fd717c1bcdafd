//! What a browser may be made to do here by a page that is not ours. The port has no password; on the loopback address
//! every page that the operator visits can send requests to it, and a name that its owner points at 127.0.0.1 (DNS
//! rebinding) could read the answers. So: each request names this port by an address, by `localhost` or by a name the
//! operator listed, and a request that changes something does not come from another page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::ErrorAnswer;

/// Nothing but what this port serves: no script in the page itself, no other host, in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// On every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Lets a request through or not, and sets the headers of its answer.
pub(super) async fn guard(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let host = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()))
        .unwrap_or_default()
        .to_owned();
    let mut response = match judge(&host, &hosts, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err((code, problem)) => (code, Json(ErrorAnswer { error: problem.to_owned() })).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn judge(host: &str, hosts: &[String], method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    if !is_known(host, hosts) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this name is not known here; name the port by its address, or list the name in admin_hosts",
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    let from_elsewhere = Err((StatusCode::FORBIDDEN, "a page of another origin may not ask for this"));
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    if let Some(origin) = text(&header::ORIGIN) {
        let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        if !same {
            return from_elsewhere;
        }
    }
    match text(&HeaderName::from_static("sec-fetch-site")) {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => from_elsewhere,
    }
}

/// An address cannot be pointed elsewhere, and no public name server answers for `localhost`.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HOST: &str = "127.0.0.1:7301";

    fn post(host: &str, headers: &[(&'static str, &str)]) -> Option<StatusCode> {
        let listed = ["settler.internal".to_owned()];
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        judge(host, &listed, &Method::POST, &headers).err().map(|(code, _)| code)
    }

    #[test]
    fn refuses_a_name_that_could_be_pointed_here() {
        for rebound in ["evil.example", "evil.example:7301", "127.0.0.1.evil.example", "", "user@", "localhost.evil"] {
            assert_eq!(post(rebound, &[]), Some(StatusCode::MISDIRECTED_REQUEST), "{rebound}");
            let get = judge(rebound, &[], &Method::GET, &HeaderMap::new());
            assert!(get.is_err(), "reading is refused, too: {rebound}");
        }
        for known in [HOST, "localhost:7301", "LOCALHOST", "[::1]:7301", "10.0.0.7", "Settler.Internal:7301"] {
            assert_eq!(post(known, &[]), None, "{known}");
        }
    }

    #[test]
    fn refuses_a_change_that_another_page_asks_for() {
        let forbidden = Some(StatusCode::FORBIDDEN);
        for origin in ["http://evil.example", "null", "http://127.0.0.1:7302", "http://127.0.0.1", "127.0.0.1:7301", ""]
        {
            assert_eq!(post(HOST, &[("origin", origin)]), forbidden, "{origin}");
        }
        assert_eq!(post(HOST, &[("origin", "http://127.0.0.1:7301")]), None);
        assert_eq!(post(HOST, &[("origin", "https://127.0.0.1:7301")]), None, "behind a proxy that does TLS");
        for site in ["cross-site", "same-site"] {
            assert_eq!(post(HOST, &[("sec-fetch-site", site)]), forbidden, "{site}");
        }
        assert_eq!(post(HOST, &[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(post(HOST, &[]), None, "a program is no page");
    }
}
