//! The one HTTP stack: two `reqwest` clients with the same rules and separate pools.

use std::sync::Arc;
use std::time::Duration;

/// Clients shared by every provider.
#[derive(Clone)]
pub struct Clients {
    /// For everything but probes of the old credential.
    pub calls: reqwest::Client,
    /// For probes of the old credential: some servers bind authentication to the connection, so
    /// what was opened for another credential must not carry this one.
    pub probes: reqwest::Client,
}

/// The system's TLS roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be built on this machine")]
pub struct NoClient(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Clients {
    /// Builds both from one recipe.
    ///
    /// # Errors
    /// [`NoClient`] if the platform offers no TLS roots.
    pub fn new() -> Result<Self, NoClient> {
        Ok(Self { calls: build()?, probes: build()? })
    }
}

fn build() -> Result<reqwest::Client, NoClient> {
    // A process-wide provider is the binary's to choose; a library that finds none takes ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        // Five seconds to connect: three SYN retransmissions; a host that needs more is down.
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("rotate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| NoClient(Box::new(error)))
}

/// The clients behind an [`Arc`], as providers share them.
pub type SharedClients = Arc<Clients>;
