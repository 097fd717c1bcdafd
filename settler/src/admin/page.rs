//! The operator's page: files of `settler/page`, built into the program, so that it works where nothing else is
//! reachable.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../page/", $name))
    };
}

/// Where each file is served.
const FILES: [(&str, &str, &str); 12] = [
    ("/", HTML, file!("index.html")),
    ("/page/page.css", STYLE, file!("page.css")),
    ("/page/parts.css", STYLE, file!("parts.css")),
    ("/page/theme.js", SCRIPT, file!("theme.js")),
    ("/page/main.js", SCRIPT, file!("main.js")),
    ("/page/ask.js", SCRIPT, file!("ask.js")),
    ("/page/format.js", SCRIPT, file!("format.js")),
    ("/page/dom.js", SCRIPT, file!("dom.js")),
    ("/page/plot.js", SCRIPT, file!("plot.js")),
    ("/page/earnings.js", SCRIPT, file!("earnings.js")),
    ("/page/tables.js", SCRIPT, file!("tables.js")),
    ("/page/icon.svg", IMAGE, file!("icon.svg")),
];

/// Routes that need nothing but the program.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        // Asked again each time: a settler that was updated shall not be looked at with the page it had before.
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || async move { (headers, text).into_response() }))
    })
}
