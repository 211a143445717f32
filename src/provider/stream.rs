//! Connections of the drivers that do not speak HTTP: TCP, and TLS against the machine's roots.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use super::client::platform;
use crate::engine::call::{Fault, Reason};

/// Three SYN retransmissions; a host that needs more is down. The same figure as for HTTP.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// The host of an address, as sockets and certificates know it.
///
/// An address in brackets is one only inside a URL. `url` leaves the host of a scheme it does not
/// know as text, so an address has to be told from a name here.
pub(super) fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Ipv6(address) => Some(address.to_string()),
        host => Some(host.to_string()),
    }
}

/// Connects; nothing is sent.
///
/// # Errors
/// [`Fault::NotSent`].
pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Fault> {
    in_time(async {
        let addresses: Vec<_> =
            lookup_host((host, port)).await.map_err(|_| not_sent(Reason::Dns))?.collect();
        if addresses.is_empty() {
            return Err(not_sent(Reason::Dns));
        }
        TcpStream::connect(&addresses[..]).await.map_err(|_| not_sent(Reason::Connect))
    })
    .await
}

/// The certificate is checked against the roots of the machine, as for HTTPS.
///
/// # Errors
/// [`Fault::NotSent`].
pub(super) async fn encrypt(
    stream: TcpStream,
    host: String,
) -> Result<TlsStream<TcpStream>, Fault> {
    let failed = |_: io::Error| not_sent(Reason::Tls);
    let name = ServerName::try_from(host).map_err(|_| not_sent(Reason::Tls))?;
    let connector = TlsConnector::from(Arc::new(trusting_the_machine()?));
    in_time(async { connector.connect(name, stream).await.map_err(failed) }).await
}

/// A client of TLS that trusts whom the machine trusts.
///
/// # Errors
/// [`Fault::NotSent`] where the machine has no roots.
pub(super) fn trusting_the_machine() -> Result<rustls::ClientConfig, Fault> {
    let mut config = platform().map_err(|_| not_sent(Reason::Tls))?;
    config.alpn_protocols.clear();
    Ok(config)
}

async fn in_time<T>(step: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(CONNECT, step).await.unwrap_or(Err(not_sent(Reason::Timeout)))
}

fn not_sent(reason: Reason) -> Fault {
    Fault::NotSent(reason.into())
}
