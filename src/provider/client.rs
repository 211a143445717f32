//! The one HTTP stack: two `reqwest` clients with the same rules and separate pools.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;

use super::roots::PlatformRoots;

/// One configuration for a whole process, and with it one reading of the platform's roots.
static PLATFORM: OnceLock<ClientConfig> = OnceLock::new();

/// Clients shared by every provider. Whoever made them, they follow no redirect, repeat nothing,
/// keep no cookies, and believe no certificate that does not check out.
#[derive(Clone)]
pub struct Clients {
    pub(crate) calls: Client,
    pub(crate) probes: Client,
}

/// The system's TLS roots cannot be used, or the recipe is wrong.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be built on this machine")]
pub struct NoClient(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Clients {
    /// Both from the recipe of this crate: the platform's TLS roots, its resolver, no proxy.
    ///
    /// # Errors
    /// [`NoClient`] if no client can be built. That the platform offers no TLS roots shows with the
    /// first connection that needs them.
    pub fn new() -> Result<Self, NoClient> {
        let build = || {
            let mut tls = platform()?;
            // The pools share no session.
            tls.resumption = Resumption::default();
            build(ours().tls_backend_preconfigured(tls))
        };
        Ok(Self { calls: build()?, probes: build()? })
    }

    /// Both from a caller's recipe: a proxy, TLS roots of its own, a resolver, a source address.
    /// It is given the builder of [`Clients::new`] and called twice, once for each pool.
    ///
    /// The rules are laid on top of what it returns, whatever that is: a redirect would carry a
    /// secret to a host that no plan has named, a hidden retry would do twice what was written
    /// once, a cookie would let one credential answer for another. Drivers that speak no HTTP
    /// (Redis, SQL) connect by themselves and take nothing from it.
    ///
    /// ```
    /// # use rotate::provider::Clients;
    /// let proxy = reqwest::Proxy::all("http://127.0.0.1:3128")?;
    /// let clients = Clients::from_recipe(|builder| builder.proxy(proxy.clone()))?;
    /// # drop(clients);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoClient`] if no client comes of it.
    pub fn from_recipe(recipe: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Self, NoClient> {
        // A process-wide provider is the binary's to choose; a library that finds none takes ring.
        let _ = ring::default_provider().install_default();
        // A configuration that was made elsewhere would check what it likes.
        let build = || build(recipe(ours()).tls_backend_rustls());
        Ok(Self { calls: build()?, probes: build()? })
    }

    /// For everything but probes of the old credential.
    pub fn calls(&self) -> &Client {
        &self.calls
    }

    /// For probes of the old credential: some servers bind authentication to the connection, so
    /// what was opened for another credential must not carry this one.
    pub fn probes(&self) -> &Client {
        &self.probes
    }
}

/// TLS as the platform means it: its roots as they were when the process first asked, ring. They
/// are read on a thread of their own, and waited for by the first handshake.
pub(crate) fn platform() -> Result<ClientConfig, NoClient> {
    if let Some(known) = PLATFORM.get() {
        return Ok(known.clone());
    }
    let ring = Arc::new(ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(Arc::clone(&ring))
        .with_safe_default_protocol_versions()
        .map_err(|error| NoClient(Box::new(error)))?
        .dangerous()
        .with_custom_certificate_verifier(PlatformRoots::read(ring))
        .with_no_client_auth();
    tls.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    Ok(PLATFORM.get_or_init(|| tls).clone())
}

fn ours() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        // Five seconds to connect: three SYN retransmissions; a host that needs more is down.
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("rotate/", env!("CARGO_PKG_VERSION")))
}

/// Lays the rules on top.
fn build(recipe: ClientBuilder) -> Result<Client, NoClient> {
    recipe
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .cookie_store(false)
        // It would log every byte on the wire.
        .connection_verbose(false)
        .tls_sslkeylogfile(false)
        .tls_danger_accept_invalid_certs(false)
        .tls_danger_accept_invalid_hostnames(false)
        .build()
        .map_err(|error| NoClient(Box::new(error)))
}

/// The clients behind an [`Arc`], as providers share them.
pub type SharedClients = Arc<Clients>;
