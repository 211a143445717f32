//! The AWS SDK over the one HTTP stack.
//!
//! Bodies stay streams: the SDK writes a body that lies in memory into its traces, and the answer
//! to `CreateAccessKey` is a secret.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The longest answer that is read, in bytes. The longest real one is a page of access keys, about
/// 20 KB.
const LONGEST_ANSWER: usize = 1 << 20;

/// A `reqwest` client in the shape that the AWS SDK asks for.
#[derive(Clone)]
pub(super) struct Connector {
    client: reqwest::Client,
    timeout: Option<Duration>,
    date: Arc<OnceLock<String>>,
}

impl Connector {
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self { client, timeout: None, date: Arc::default() }
    }

    /// The `Date` of the first answer: the service's own clock.
    pub(super) fn date(&self) -> Option<&str> {
        self.date.get().map(String::as_str)
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
        let request = request.map(reqwest::Body::wrap);
        let mut request =
            reqwest::Request::try_from(request).map_err(|e| ConnectorError::user(e.into()))?;
        *request.timeout_mut() = self.timeout;
        let response = self.client.execute(request).await.map_err(transport)?;
        if let Some(date) = response.headers().get(http::header::DATE) {
            let _ = self.date.set(String::from_utf8_lossy(date.as_bytes()).into_owned());
        }
        let response = http::Response::from(response)
            .map(|body| SdkBody::from_body_1_x(Limited::new(body, LONGEST_ANSWER)));
        HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
    }
}

fn transport(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(BoxError::from(error))
    } else {
        ConnectorError::io(BoxError::from(error))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for Connector {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Only the credential chain sets any: one second for an instance's metadata address, which
        // is a black hole everywhere else.
        let timeout = match (settings.connect_timeout(), settings.read_timeout()) {
            (Some(connect), Some(read)) => Some(connect.saturating_add(read)),
            (connect, read) => connect.or(read),
        };
        SharedHttpConnector::new(Self { timeout, ..self.clone() })
    }
}
