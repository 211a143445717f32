//! Sessions in Redis: a key for each, its value the session as JSON.

use async_trait::async_trait;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, FromRedisValue, RedisError, Value};
use tokio::task::JoinHandle;
use url::Url;
use zeroize::Zeroizing;

use super::{MOST, Name, Sessions, Store, password, word};
use crate::engine::call::{Fault, Reason, Values, Why};
use crate::provider::Acting;
use crate::provider::node::{self, PASSING, shown};
use crate::provider::session::wire::Failure;

/// Keys asked for at once: some thousand short values are well below a millisecond of the server.
const PAGE: usize = 1000;

/// A connection that is closed when dropped.
pub(super) struct KeyValue {
    link: MultiplexedConnection,
    task: JoinHandle<()>,
    prefix: String,
    user_at: Option<String>,
}

impl KeyValue {
    /// Connects and signs in: `redis://host/0` or `rediss://host/0`, the password the admin's.
    pub(super) async fn open(base: &Url, admin: &Acting, values: &Values) -> Result<Self, Failure> {
        let (link, task) = node::open(base).await?;
        let prefix = word(values, "prefix").unwrap_or_default().to_owned();
        let user_at = word(values, "user_at").map(str::to_owned);
        let mut store = Self { link, task, prefix, user_at };
        let password = password(admin)?;
        let mut auth = redis::cmd("AUTH");
        auth.arg(word(&admin.vars, "username").unwrap_or("default")).arg(password.as_str());
        let refused = |failure| match failure {
            Failure::Refused(why) => Failure::Refused(Why { reason: Reason::ActorRefused, ..why }),
            other => other.before(),
        };
        store.ask::<Value>(&auth).await.map_err(refused)?;
        let database = base.path().trim_start_matches('/');
        if !database.is_empty() && database != "0" {
            store.ask::<Value>(redis::cmd("SELECT").arg(database)).await?;
        }
        Ok(store)
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Failure> {
        let said = match self.link.req_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(RedisError::from(error)),
            said => said,
        };
        let value = said.map_err(|error| failure(&error))?;
        T::from_redis_value(value).map_err(|_| Failure::Refused(Reason::Unexpected.into()))
    }

    /// What of these keys are sessions of the user.
    async fn whose(&mut self, keys: Vec<Name>, user: &str) -> Result<Vec<Name>, Failure> {
        let Some(user_at) = self.user_at.clone() else {
            return Err(Reason::MissingValue.into());
        };
        let mut command = redis::cmd("MGET");
        for key in &keys {
            command.arg(key.as_str());
        }
        let values: Vec<Option<String>> = self.ask(&command).await?;
        let mut names = Vec::new();
        for (key, value) in keys.iter().zip(values) {
            let Some(value) = value.map(Zeroizing::new) else { continue };
            let session: serde_json::Value = serde_json::from_str(&value).unwrap_or_default();
            let owner = match session.pointer(&user_at) {
                Some(serde_json::Value::String(owner)) => owner == user,
                Some(serde_json::Value::Number(owner)) => owner.to_string() == user,
                _ => false,
            };
            let name = key.strip_prefix(&self.prefix).filter(|_| owner);
            names.extend(name.map(|name| Name::new(name.to_owned())));
        }
        Ok(names)
    }
}

impl Drop for KeyValue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Store for KeyValue {
    async fn remove(&mut self, names: &[Name]) -> Result<u64, Failure> {
        let mut command = redis::cmd("DEL");
        for name in names {
            command.arg(Zeroizing::new(format!("{}{}", self.prefix, name.as_str())).as_str());
        }
        self.ask(&command).await
    }

    async fn of_user(&mut self, user: &str) -> Result<Sessions, Failure> {
        let pattern = format!("{}*", literal(&self.prefix));
        let (mut names, mut seen, mut cursor) = (Vec::new(), 0, 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            let (next, keys): (u64, Vec<String>) = self.ask(&scan).await?;
            seen += keys.len();
            if !keys.is_empty() {
                let keys = keys.into_iter().map(Name::new).collect();
                // A key may be shown twice while the server's table grows.
                for name in self.whose(keys, user).await? {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            cursor = next;
            if cursor == 0 || seen > MOST {
                return Ok(Sessions { names, complete: cursor == 0 });
            }
        }
    }
}

/// A prefix as a pattern that matches nothing else.
fn literal(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len());
    for character in prefix.chars() {
        if "*?[]\\^".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// The server's own error word; its text quotes what was sent.
fn failure(error: &RedisError) -> Failure {
    let Some(code) = error.code() else {
        let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Reset };
        return Failure::Lost(reason.into());
    };
    let full = error.detail().is_some_and(|said| said.contains("max number of clients"));
    if full || PASSING.contains(&code) {
        return Fault::Throttled(None).into();
    }
    let reason = if code == "NOPERM" { Reason::ActorRefused } else { Reason::Refused };
    Failure::Refused(Why { reason, status: None, word: shown(code) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_alone() {
        assert_eq!(literal("sess:"), "sess:");
        assert_eq!(literal("a*b[c]?"), r"a\*b\[c\]\?");
    }
}
