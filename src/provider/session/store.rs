//! Where a site keeps its sessions: what a cookie is called there, and the four stores.

use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use self::key_value::KeyValue;
use self::mysql::Mysql;
use self::postgres::Postgres;
use self::sqlite::Sqlite;
use super::site::word;
use super::wire::Failure;
use crate::engine::call::{Reason, Row, Values};
use crate::provider::{Acting, Bases, hex};
use crate::secret::Secret;

mod django;
mod key_value;
mod mysql;
mod postgres;
mod sqlite;
mod table;

/// The most sessions of one user, or of a store that does not say whose they are, that are looked
/// at; a list that is longer is cut and said to be.
const MOST: usize = 100_000;

/// A server that deletes a row later than this waits for a lock that nobody will give up.
const ANSWER: Duration = Duration::from_secs(10);

/// What a session is called in its store: a secret, for it opens the session.
pub(super) type Name = Zeroizing<String>;

/// A store that is open for one call.
#[async_trait]
pub(super) trait Store: Send {
    /// Deletes sessions by what they are called; how many there were.
    async fn remove(&mut self, names: &[Name]) -> Result<u64, Failure>;

    /// What the sessions of a user are called.
    async fn of_user(&mut self, user: &str) -> Result<Sessions, Failure>;
}

/// Sessions of one user.
pub(super) struct Sessions {
    /// What they are called.
    pub(super) names: Vec<Name>,
    /// All of them were read.
    pub(super) complete: bool,
}

/// Opens the store that the base `store` names, as the admin that the inventory names.
///
/// # Errors
/// [`Failure::NotSent`] where it cannot be reached, [`Reason::ActorRefused`] where it does not take
/// the admin.
pub(super) async fn open(
    bases: &Bases,
    admin: &Acting,
    values: &Values,
) -> Result<Box<dyn Store>, Failure> {
    // One that was named for everything may be an account.
    if !["session-store", "session-file"].contains(&admin.kind.as_str()) {
        return Err(Reason::MissingValue.into());
    }
    let base = bases.get("store").ok_or(Reason::MissingValue)?;
    // Whatever goes wrong here, nothing was deleted.
    opened(base, admin, values).await.map_err(Failure::before)
}

async fn opened(base: &Url, admin: &Acting, values: &Values) -> Result<Box<dyn Store>, Failure> {
    Ok(match base.scheme() {
        "redis" | "rediss" => Box::new(KeyValue::open(base, admin, values).await?),
        "postgres" | "postgresql" => Box::new(Postgres::open(base, admin, values).await?),
        "mysql" | "mariadb" => Box::new(Mysql::open(base, admin, values).await?),
        "sqlite" => Box::new(Sqlite::open(base, values)?),
        _ => return Err(Reason::Unsupported.into()),
    })
}

/// A step of a database's own protocol.
async fn in_time<T, E>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
    failure: impl FnOnce(&E) -> Failure,
) -> Result<T, Failure> {
    match timeout(limit, step).await {
        Ok(done) => done.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::Lost(Reason::Timeout.into())),
    }
}

/// What a cookie may be called in its store: `stored_as`.
///
/// # Errors
/// [`Reason::Unsupported`] for a value that is no session of that framework.
pub(super) fn names(values: &Values, cookie: &Secret) -> Result<Vec<Name>, Failure> {
    let decoded = Zeroizing::new(percent_decode(cookie.expose()).collect::<Vec<u8>>());
    let text = std::str::from_utf8(&decoded).map_err(|_| Reason::Unsupported)?;
    let plain = || Name::new(text.to_owned());
    let names = match word(values, "stored_as").unwrap_or("plain") {
        // express-session and cookie-signature: `s:`, the id, a dot, its HMAC in base64.
        "express" => {
            let signed = text.strip_prefix("s:").and_then(|signed| signed.rsplit_once('.'));
            vec![Name::new(signed.ok_or(Reason::Unsupported)?.0.to_owned())]
        }
        // Rack 2.0.8 and later keep the digest; stores from before keep the id itself.
        "rails" => vec![Name::new(format!("2::{}", hex(&Sha256::digest(text)))), plain()],
        "sha256" => vec![Name::new(hex(&Sha256::digest(text)))],
        _ => vec![plain()],
    };
    let usable = names.iter().all(|name| !name.is_empty());
    usable.then_some(names).ok_or_else(|| Reason::Unsupported.into())
}

/// Names a session to people and in lists: 64 bits of a hash. Session ids are random, so that a
/// hash of one cannot be guessed back.
pub(super) fn handle(name: &str) -> String {
    hex(&Sha256::digest(name)[..8])
}

/// One row for each session of a user; the old one's is marked.
pub(super) fn rows(sessions: &Sessions, old: &[Name]) -> Vec<Row> {
    let row =
        |name: &Name| Row { handle: handle(name), hinted: old.contains(name), ..Row::default() };
    sessions.names.iter().map(row).collect()
}

/// The password of a store, as text.
fn password(admin: &Acting) -> Result<Zeroizing<String>, Failure> {
    let secret = admin.parts.secret.get("secret").ok_or(Reason::MissingValue)?;
    let text = std::str::from_utf8(secret.expose()).map_err(|_| Reason::Unsupported)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(stored_as: &str, cookie: &str) -> Result<Vec<String>, Failure> {
        let values = Values::from([("stored_as".to_owned(), stored_as.into())]);
        let names = names(&values, &Secret::from(cookie.to_owned()))?;
        Ok(names.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn a_cookie_is_called_what_its_framework_calls_it() {
        assert_eq!(named("plain", "abc"), Ok(vec!["abc".to_owned()]));
        let express = "s%3Aq.8s-dot.s1gn%2Bature%2F%3D";
        assert_eq!(named("express", express), Ok(vec!["q.8s-dot".to_owned()]));
        assert_eq!(named("express", "s:id.hmac"), Ok(vec!["id".to_owned()]));
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(named("rails", "abc"), Ok(vec![format!("2::{digest}"), "abc".to_owned()]));
        assert_eq!(named("sha256", "abc"), Ok(vec![digest.to_owned()]));
    }

    #[test]
    fn a_value_that_is_no_session_is_called_nothing() {
        for bad in ["unsigned", "s:", "s:.hmac", ""] {
            assert_eq!(named("express", bad), Err(Reason::Unsupported.into()), "{bad}");
        }
        assert_eq!(named("plain", ""), Err(Reason::Unsupported.into()));
    }

    #[test]
    fn a_handle_tells_nothing_of_the_session() {
        assert_eq!(handle("abc"), "ba7816bf8f01cfea");
    }
}
