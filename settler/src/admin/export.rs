//! Everything as CSV or JSON, for a spreadsheet or a program. It is read in pages while it is sent: neither the memory nor
//! a reader of the database is held by one who takes it slowly. What changes meanwhile may be in it as it was or as it is.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{Admin, AdminError};
use crate::api::ErrorAnswer;
use crate::clock::now_s;
use crate::csv;
use crate::earnings;
use crate::reports::Range;
use crate::store::{Best, StoreError};

/// Lines read from the database at once.
const PAGE_ROWS: u32 = 1_000;

pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new().route("/export/{file}", get(export))
}

#[derive(Clone, Copy)]
enum What {
    Lanes,
    Claims,
    Earnings,
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Json,
}

/// Where the next piece begins.
#[derive(Clone, Copy)]
enum Cursor {
    /// Nothing was read yet.
    Start,
    /// After this lane.
    Lane(Best, Option<(Address, Address)>),
    /// After this transaction.
    Claim(i64),
    /// Only the end is missing.
    End,
    /// All is said.
    Ended,
}

/// An export that is being sent.
struct Export {
    admin: Arc<Admin>,
    what: What,
    format: Format,
    next: Cursor,
    has_rows: bool,
    _permit: OwnedSemaphorePermit,
}

async fn export(State(admin): State<Arc<Admin>>, Path(file): Path<String>) -> Result<Response, AdminError> {
    let problem = |code: StatusCode, text: &str| (code, Json(ErrorAnswer { error: text.to_owned() })).into_response();
    let Some((what, format)) = parse(&file) else {
        return Ok(problem(StatusCode::NOT_FOUND, "there are lanes, claims and earnings, each as .csv and .json"));
    };
    let Ok(permit) = admin.exports.clone().try_acquire_owned() else {
        return Ok(problem(StatusCode::TOO_MANY_REQUESTS, "other exports are being sent; come back"));
    };
    let mut export = Export { admin, what, format, next: Cursor::Start, has_rows: false, _permit: permit };
    // The first page before the status: a database that fails is told as such.
    let first = export.next().await?.unwrap_or_default();
    let rest = stream::try_unfold(export, |mut export| async move {
        Ok::<_, StoreError>(export.next().await?.map(|page| (page, export)))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest));
    let kind = match format {
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Json => "application/json",
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"settler-{file}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn parse(file: &str) -> Option<(What, Format)> {
    let (what, format) = file.split_once('.')?;
    let what = match what {
        "lanes" => What::Lanes,
        "claims" => What::Claims,
        "earnings" => What::Earnings,
        _ => return None,
    };
    let format = match format {
        "csv" => Format::Csv,
        "json" => Format::Json,
        _ => return None,
    };
    Some((what, format))
}

impl Export {
    /// The next piece of the file, none after its end.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let store = &self.admin.sender.store;
        let is_first = matches!(self.next, Cursor::Start);
        let (text, next) = match (self.what, self.next) {
            (_, Cursor::Ended) => return Ok(None),
            (_, Cursor::End) => {
                let end = if matches!(self.format, Format::Json) { "\n]\n" } else { "" };
                (end.to_owned(), Cursor::Ended)
            }
            (What::Lanes, at) => {
                let (best, after) =
                    if let Cursor::Lane(best, after) = at { (best, after) } else { (Best::Waiting, None) };
                let lanes = store.lanes_after(best, after, PAGE_ROWS).await?;
                let next = match (lanes.last(), best) {
                    (Some(last), _) => Cursor::Lane(best, Some((last.payer, last.payee))),
                    (None, Best::Waiting) => Cursor::Lane(Best::UnderWay, None),
                    (None, Best::UnderWay) => Cursor::End,
                };
                (self.written(&lanes, is_first), next)
            }
            (What::Claims, at) => {
                let after = if let Cursor::Claim(after) = at { after } else { 0 };
                let claims = store.claims_after(after, PAGE_ROWS).await?;
                (self.written(&claims, is_first), claims.last().map_or(Cursor::End, |claim| Cursor::Claim(claim.id)))
            }
            // Bounded: the whole history in at most so many steps.
            (What::Earnings, _) => {
                let steps = earnings::read(store, Range::All, now_s()).await?.steps;
                (self.written(&steps, true), Cursor::End)
            }
        };
        self.next = next;
        Ok(Some(Bytes::from(text)))
    }

    /// Lines as the format has them, after its beginning if they are the first piece.
    fn written<T: Serialize + csv::Record>(&mut self, rows: &[T], is_first: bool) -> String {
        let mut text = String::new();
        match self.format {
            Format::Csv => {
                if is_first {
                    csv::put_line(&mut text, T::COLUMNS.iter().copied());
                }
                for row in rows {
                    csv::put_line(&mut text, row.fields().iter().map(String::as_str));
                }
            }
            Format::Json => {
                text.push_str(if is_first { "[" } else { "" });
                for row in rows {
                    text.push_str(if self.has_rows { ",\n" } else { "\n" });
                    // These types hold nothing that JSON cannot: no map with other keys than text, no failing serializer.
                    text.push_str(&serde_json::to_string(row).unwrap_or_default());
                    self.has_rows = true;
                }
            }
        }
        text
    }
}
