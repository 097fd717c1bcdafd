//! Speaking to a running settler over its admin port.

use std::time::Duration;

use serde::de::DeserializeOwned;
use url::Url;

use super::outcome::CommandError;
use crate::api::ErrorAnswer;

/// The settler answers from its own log; longer means that it is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// An export of a very long log through a slow tunnel.
const STREAM_TIMEOUT: Duration = Duration::from_secs(6 * 3_600);

/// A settler's admin port.
#[derive(Debug)]
pub struct AdminClient {
    http: reqwest::Client,
    url: Url,
}

impl AdminClient {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When this machine cannot make HTTP requests at all.
    pub fn new(url: Url) -> Result<Self, CommandError> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| CommandError::Failed(error.into()))?;
        Ok(Self { http, url })
    }

    /// Asks.
    ///
    /// # Errors
    /// Exit 4 when nobody answers, exit 3 when the answer is no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.answer(self.http.get(self.at(path)?)).await
    }

    /// Asks for something long, which comes in pieces.
    ///
    /// # Errors
    /// Exit 4 when nobody answers, exit 3 when the answer is no.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response, CommandError> {
        // As long as it comes, it may take as long as it takes.
        let request = self.http.get(self.at(path)?).timeout(STREAM_TIMEOUT);
        let response = request.send().await.map_err(|error| self.nobody(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// Exit 4 when nobody answers, exit 3 when the answer is no.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.answer(self.http.post(self.at(path)?)).await
    }

    fn at(&self, path: &str) -> Result<Url, CommandError> {
        self.url.join(path).map_err(|error| CommandError::Usage(format!("{}: {error}", self.url)))
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, CommandError> {
        let response = request.send().await.map_err(|error| self.nobody(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.nobody(&error))?;
        serde_json::from_slice(&body).map_err(|error| {
            CommandError::Unreachable(format!("{} answers, but not as a settler's admin port does: {error}", self.url))
        })
    }

    fn nobody(&self, error: &reqwest::Error) -> CommandError {
        CommandError::Unreachable(format!(
            "no settler answers at {url} ({error}).\nStart one with `settler run --config …`, or name its admin \
             address with --url or SETTLER_URL.",
            url = self.url
        ))
    }

    async fn refusal(&self, response: reqwest::Response) -> CommandError {
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return self.nobody(&error),
        };
        CommandError::Refused(serde_json::from_slice::<ErrorAnswer>(&body).map_or_else(
            |_| format!("{} answers {status}; is it a settler's admin port?", self.url),
            |answer| answer.error,
        ))
    }
}
