//! A connection to one Redis node, for one call: nothing is pooled, because Redis binds the
//! authentication to the connection.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use url::Url;

use super::stream::{encrypt, host, tcp};
use crate::engine::call::{Fault, Reason};

/// A node that answers later than this is blocked by a script or by its disk.
const ANSWER: Duration = Duration::from_secs(5);

/// The port of `redis://` and `rediss://` addresses that name none.
const PORT: u16 = 6379;

/// Error words of a node that is starting, without its master, in a script or in a change: not
/// the caller's fault, and over soon.
pub(super) const PASSING: [&str; 5] = ["LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN"];

/// Connects; no credential is sent. The task drives the connection, and is the caller's to end.
///
/// # Errors
/// [`Fault::NotSent`], or [`Fault::Refused`] for an address that is not a Redis node's.
pub(super) async fn open(url: &Url) -> Result<(MultiplexedConnection, JoinHandle<()>), Fault> {
    let tls = match url.scheme() {
        "redis" => false,
        "rediss" => true,
        _ => return Err(Fault::Refused(Reason::Unsupported.into())),
    };
    let host = host(url).ok_or(Fault::Refused(Reason::MissingValue.into()))?;
    let stream = tcp(&host, url.port().unwrap_or(PORT)).await?;
    if tls { over(encrypt(stream, host).await?).await } else { over(stream).await }
}

async fn over<S>(stream: S) -> Result<(MultiplexedConnection, JoinHandle<()>), Fault>
where
    S: Unpin + AsyncRead + AsyncWrite + Send + 'static,
{
    // Nothing is set up: the first words are ours, so that a refusal is of what we said.
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
        .await
        .map_err(|_| Fault::NotSent(Reason::Reset.into()))?;
    Ok((connection, tokio::spawn(driver)))
}

/// Redis's error words are capital letters; anything else is somebody's text.
pub(super) fn shown(word: &str) -> Option<String> {
    let fits = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase());
    fits.then(|| word.to_owned())
}
