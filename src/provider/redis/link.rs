//! One connection to one node, for one call: opened, used, closed. Nothing is pooled, because
//! Redis binds the authentication to the connection.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::task::JoinHandle;
use url::Url;

use crate::engine::call::{Fault, Reason, Why};
use crate::provider::stream::{encrypt, host, tcp};

/// A node that answers an ACL command later than this is blocked by a script or by its disk.
const ANSWER: Duration = Duration::from_secs(5);

/// The port of `redis://` and `rediss://` addresses that name none.
const PORT: u16 = 6379;

/// A connection that is closed when dropped.
pub(super) struct Link {
    connection: MultiplexedConnection,
    task: JoinHandle<()>,
}

impl Link {
    /// Connects; no credential is sent.
    ///
    /// # Errors
    /// [`Fault::NotSent`], or [`Fault::Refused`] for an address that is not a Redis node's.
    pub(super) async fn open(url: &Url) -> Result<Self, Fault> {
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(Fault::Refused(Reason::Unsupported.into())),
        };
        let host = host(url).ok_or(Fault::Refused(Reason::MissingValue.into()))?;
        let stream = tcp(&host, url.port().unwrap_or(PORT)).await?;
        if tls { Self::over(encrypt(stream, host).await?).await } else { Self::over(stream).await }
    }

    async fn over<S>(stream: S) -> Result<Self, Fault>
    where
        S: Unpin + tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        // Nothing is set up: the first words are ours, so that a refusal is of what we said.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|_| not_sent(Reason::Reset))?;
        Ok(Self { connection, task: tokio::spawn(driver) })
    }

    /// Sends one command and reads its answer.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Said> {
        match self.connection.req_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(Said::from(RedisError::from(error))),
            Ok(value) => Ok(value),
            Err(error) => Err(Said::from(error)),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a node said instead of doing it. The server's own text stays in here: it quotes what was
/// sent.
pub(super) enum Said {
    /// Its error word, and its text.
    Error(String, String),
    /// No answer came.
    Nothing(Reason),
}

impl Said {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Error(said, _) if said == word)
    }

    pub(super) fn mentions(&self, text: &str) -> bool {
        matches!(self, Self::Error(_, said) if said.contains(text))
    }

    /// Not this credential's fault, and over soon: starting, without its master, in a script, full.
    fn passes(&self) -> bool {
        let words = ["LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN"];
        words.into_iter().any(|word| self.is(word)) || self.mentions("max number of clients")
    }

    /// The fault, where an error of the node has this reason.
    pub(super) fn fault(self, reason: Reason) -> Fault {
        if self.passes() {
            return Fault::Throttled(None);
        }
        match self {
            Self::Error(word, _) => Fault::Refused(Why { reason, status: None, word: shown(word) }),
            Self::Nothing(reason) => Fault::Unknown(reason.into()),
        }
    }
}

impl From<RedisError> for Said {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => {
                Self::Error(code.to_owned(), error.detail().unwrap_or_default().to_owned())
            }
            None if error.is_timeout() => Self::Nothing(Reason::Timeout),
            None if error.kind() == ErrorKind::Parse => Self::Nothing(Reason::Unexpected),
            None => Self::Nothing(Reason::Reset),
        }
    }
}

/// Redis's error words are capital letters; anything else is somebody's text.
fn shown(word: String) -> Option<String> {
    let fits = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase());
    fits.then_some(word)
}

fn not_sent(reason: Reason) -> Fault {
    Fault::NotSent(reason.into())
}
