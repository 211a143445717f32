//! Deploy keys of a repository. GitHub holds the public half; which of its rows is ours is told by
//! the public half inside our own file.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use super::answer::Failure;
use super::session::{self, Session};
use crate::engine::call::{Answer, Reason, Row};
use crate::provider::Secrets;
use crate::secret::Secret;

/// Rows of one page, GitHub's own limit.
const PAGE: usize = 100;

/// A repository with more than a thousand deploy keys is none that anybody reads: its list is cut
/// and said to be.
const MOST_PAGES: usize = 10;

/// The deploy keys of a repository.
pub(super) async fn list(
    session: &Session,
    repository: &str,
    secrets: &Secrets,
) -> Result<Answer, Failure> {
    let own = secrets.get("old").and_then(|old| old.parts.secret.get("secret")).and_then(public);
    let (rows, complete) = rows(session, repository).await?;
    let row = |row: &Value| {
        let text = |name: &str| {
            let text = row.get(name).and_then(Value::as_str)?;
            (!repeats(text, secrets)).then(|| text.to_owned())
        };
        let key = row.get("key").and_then(Value::as_str).and_then(|key| key.split(' ').nth(1));
        Some(Row {
            handle: row.get("id")?.as_u64()?.to_string(),
            label: text("title"),
            created: text("created_at"),
            used: text("last_used"),
            scopes: row.get("read_only").and_then(Value::as_bool).map(right),
            hinted: own.is_some() && key == own.as_deref(),
            ..Row::default()
        })
    };
    Ok(Answer::Found { complete, rows: rows.iter().filter_map(row).collect() })
}

/// Deletes one. GitHub says 404 both for a key that is gone and to one who may not delete it: the
/// list, which the second is refused as well, tells them apart.
pub(super) async fn delete(
    session: &Session,
    repository: &str,
    handle: &str,
) -> Result<Answer, Failure> {
    let path = format!("{}/{}", keys(repository)?, session::segment(handle));
    let answered = session.send(Method::DELETE, &path, None).await?;
    match answered.status {
        204 => Ok(Answer::Done),
        404 => {
            let (rows, complete) = rows(session, repository).await?;
            let is = |row: &Value| {
                let id = row.get("id").and_then(Value::as_u64);
                id.is_some_and(|id| id.to_string() == handle)
            };
            match complete && !rows.iter().any(is) {
                true => Ok(Answer::Gone),
                false => Err(answered.refusal()),
            }
        }
        _ => Err(answered.refusal()),
    }
}

async fn rows(session: &Session, repository: &str) -> Result<(Vec<Value>, bool), Failure> {
    let keys = keys(repository)?;
    let mut rows = Vec::new();
    for page in 1..=MOST_PAGES {
        let path = format!("{keys}?per_page={PAGE}&page={page}");
        let answered = session.send(Method::GET, &path, None).await?;
        let (200, Value::Array(mut found)) = (answered.status, answered.json()) else {
            return Err(answered.refusal());
        };
        let last = found.len() < PAGE;
        rows.append(&mut found);
        if last {
            return Ok((rows, true));
        }
    }
    Ok((rows, false))
}

fn keys(repository: &str) -> Result<String, Failure> {
    let (owner, name) = repository.split_once('/').ok_or(Reason::MissingValue)?;
    Ok(format!("/repos/{}/{}/keys", session::segment(owner), session::segment(name)))
}

fn right(read_only: bool) -> String {
    if read_only { "read" } else { "write" }.to_owned()
}

/// Whether a text of the server repeats a secret that went out: then it is not written down.
fn repeats(text: &str, secrets: &Secrets) -> bool {
    let parts = secrets.values().flat_map(|acting| acting.parts.secret.values());
    parts.filter_map(session::text).any(|secret| text.contains(secret))
}

/// The public half of a private key in OpenSSH's form, as GitHub lists it: it stands in the clear
/// before the private one, behind a magic word and three names.
fn public(private: &Secret) -> Option<String> {
    const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    let text = std::str::from_utf8(private.expose()).ok()?;
    let lines = text.split_once(BEGIN)?.1.split_once("-----END")?.0;
    let joined: Zeroizing<String> = Zeroizing::new(lines.split_ascii_whitespace().collect());
    let blob = Zeroizing::new(BASE64_STANDARD.decode(&*joined).ok()?);
    let mut rest = blob.strip_prefix(b"openssh-key-v1\0")?;
    // The cipher, how its key is made, and from what.
    for _ in 0..3 {
        (_, rest) = field(rest)?;
    }
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (key, _) = field(rest)?;
    (u32::from_be_bytes(*count) == 1).then(|| BASE64_STANDARD.encode(key))
}

/// A string of RFC 4251: its length in four bytes, then its bytes.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The envelope of an OpenSSH key around a made-up public half.
    fn envelope(public: &[u8], count: u32) -> Secret {
        let string = |bytes: &[u8]| {
            let mut field = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            field.extend_from_slice(bytes);
            field
        };
        let mut blob = b"openssh-key-v1\0".to_vec();
        for name in [&b"none"[..], b"none", b""] {
            blob.extend(string(name));
        }
        blob.extend(count.to_be_bytes());
        blob.extend(string(public));
        blob.extend(string(b"the private half"));
        let text = BASE64_STANDARD.encode(blob);
        let (first, second) = text.split_at(40);
        Secret::from(format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{first}\n{second}\n\
             -----END OPENSSH PRIVATE KEY-----\n"
        ))
    }

    #[test]
    fn the_public_half_stands_in_the_private_file() {
        let half = b"\0\0\0\x0bssh-ed25519\0\0\0\x20made up";
        assert_eq!(public(&envelope(half, 1)), Some(BASE64_STANDARD.encode(half)));
        assert_eq!(public(&envelope(half, 2)), None, "which of them?");
        for other in ["", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"]
        {
            assert_eq!(public(&Secret::from(other.to_owned())), None, "{other}");
        }
    }

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        assert_eq!(keys("octo/mail").unwrap(), "/repos/octo/mail/keys");
        assert_eq!(keys("octo/../../user").unwrap(), "/repos/octo/..%2F..%2Fuser/keys");
        assert!(keys("octo").is_err());
    }
}
