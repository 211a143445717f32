//! One connection to one node, for one call: opened, used, closed.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::task::JoinHandle;
use url::Url;

use crate::engine::call::{Fault, Reason, Why};
use crate::provider::node::{self, PASSING, shown};

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
        let (connection, task) = node::open(url).await?;
        Ok(Self { connection, task })
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

    /// Not this credential's fault, and over soon.
    fn passes(&self) -> bool {
        PASSING.into_iter().any(|word| self.is(word)) || self.mentions("max number of clients")
    }

    /// The fault, where an error of the node has this reason.
    pub(super) fn fault(self, reason: Reason) -> Fault {
        if self.passes() {
            return Fault::Throttled(None);
        }
        match self {
            Self::Error(word, _) => {
                Fault::Refused(Why { reason, status: None, word: shown(&word) })
            }
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
