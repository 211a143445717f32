//! Consent by a redirect back to this host: RFC 8252 section 7.3, with PKCE (RFC 7636, S256), a
//! state of one use, and the issuer in the answer (RFC 9207) where the issuer says that it tells.
//!
//! No browser is started: the page is shown, and opened by a person wherever that person is signed
//! in. A host that is not the one in front of the person is reached through a forwarded port.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use oauth2::{CsrfToken, PkceCodeChallenge};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::{Host, Url, form_urlencoded};
use zeroize::Zeroizing;

use super::client::Granted;
use super::consent::{Means, Wanted};
use super::wire::{Failure, word};
use crate::engine::call::{Reason, Values, Why};

/// How long a person has. Large issuers give device codes 15 to 30 minutes; a page that was left
/// open for longer has nobody in front of it.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The longest request head that is read, in bytes: browsers send 2 to 4 KiB, and codes of a few
/// hundred.
const HEAD_MAX: usize = 16 * 1024;

/// Connections heard at a time. Browsers open two or three ahead of need and leave them silent.
const CONNECTIONS_MAX: usize = 16;

const ARRIVED: &str = "The answer has arrived. Close this page; the terminal goes on.";
const REFUSED: &str = "No consent was given. Close this page; the terminal says what is left.";
const NOT_OURS: &str = "Nobody here waits for this. Nothing was taken from it.";

/// Shows the page, waits for the browser to come back, and redeems the code it brings.
///
/// # Errors
/// As [`Wanted::obtain`].
pub(super) async fn consent(wanted: &Wanted<'_>) -> Result<Result<Granted, Failure>, Failure> {
    let door = Door::open(wanted.values).await?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (page, state) =
        wanted.client.consent_page(wanted.values, &wanted.query, &door.address, challenge)?;
    let means = Means::Redirect { port: door.port };
    let shown = wanted.person.show(&wanted.ask(page, means, PATIENCE)?).await;
    let expected = Expected::new(wanted, &door, &state);
    let came = tokio::select! {
        came = door.answer(&expected) => came,
        () = wanted.person.pause(PATIENCE) => Err(Reason::Timeout.into()),
    };
    drop(shown);
    let code = match came {
        Ok(code) => code,
        // Nobody has shown a code to the issuer, so nothing was granted.
        Err(failure) => return Ok(Err(failure)),
    };
    let redeem = || wanted.client.redeem(&code, verifier.secret(), &door.address);
    Ok(match redeem().await {
        // A code is shown twice only here: it is redeemed now, or the issuer ends what it gave for
        // it the first time (RFC 6749 section 4.1.2) and what was lost is named as lost.
        Err(failure @ (Failure::Lost(_) | Failure::Broken(_) | Failure::Odd(_))) => {
            redeem().await.map_err(|_| failure)
        }
        redeemed => redeemed,
    })
}

/// What an answer must bring to be the one that is waited for.
struct Expected<'a> {
    path: &'a str,
    state: &'a str,
    /// The issuer's own name for itself.
    issuer: Option<&'a str>,
    /// It says that every answer names it.
    tells_issuer: bool,
}

impl<'a> Expected<'a> {
    fn new(wanted: &Wanted<'a>, door: &'a Door, state: &'a CsrfToken) -> Self {
        let metadata = &wanted.client.issuer.metadata;
        Self {
            path: door.address.path(),
            state: state.secret(),
            issuer: metadata.issuer.as_deref(),
            tells_issuer: metadata.tells_issuer,
        }
    }

    /// What the query of a redirect comes to; none where it is not the one that is waited for.
    fn read(&self, query: &str) -> Option<Result<Zeroizing<String>, Failure>> {
        let said = |name: &str| {
            let mut all = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
            let first = all.next().map(|(_, value)| Zeroizing::new(value.into_owned()));
            // Said twice is not said (RFC 6749 section 3.1).
            first.filter(|_| all.next().is_none())
        };
        if said("state")?.as_str() != self.state {
            return None;
        }
        let told = said("iss");
        let other = match (&told, self.issuer) {
            (Some(told), Some(issuer)) => told.as_str() != issuer,
            (told, _) => told.is_none() && self.tells_issuer,
        };
        if other {
            return Some(Err(Reason::SomebodyElse.into()));
        }
        if let Some(error) = said("error") {
            let why = Why { reason: Reason::Refused, status: None, word: word(&error) };
            return Some(Err(Failure::Refused(why)));
        }
        Some(said("code").ok_or_else(|| Reason::Unexpected.into()))
    }
}

/// Where the browser comes back to.
struct Door {
    listener: TcpListener,
    port: u16,
    /// The redirect URI, exactly as it is sent with page and code.
    address: Url,
}

impl Door {
    /// Opens a port that the system chooses, or the one of the inventory's `redirect_uri` where
    /// the issuer compares ports.
    ///
    /// # Errors
    /// [`Reason::Untrusted`] for a redirect URI that is not this host's loopback.
    async fn open(values: &Values) -> Result<Self, Failure> {
        let named = values.get("redirect_uri").and_then(Value::as_str);
        let at = match named.map(Url::parse) {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Some(Ok(url)) => own(&url).ok_or(Reason::Untrusted)?,
            Some(Err(_)) => return Err(Reason::Untrusted.into()),
        };
        // The port may be another consent's, which ends.
        let busy = |_| Failure::NotSent(Reason::Connect);
        let listener = TcpListener::bind(at).await.map_err(busy)?;
        let port = listener.local_addr().map_err(busy)?.port();
        let address = match named {
            Some(named) => named.parse(),
            None => Url::parse(&format!("http://127.0.0.1:{port}/callback")),
        };
        let address = address.map_err(|_| Failure::from(Reason::Untrusted))?;
        Ok(Self { listener, port, address })
    }

    /// Hears whoever connects until one brings the state; that one is the answer.
    async fn answer(&self, expected: &Expected<'_>) -> Result<Zeroizing<String>, Failure> {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    // A connection that cannot be taken is the other side's loss.
                    let Ok((stream, _)) = accepted else { continue };
                    if open.len() >= CONNECTIONS_MAX {
                        open.clear();
                    }
                    open.push(hear(stream, expected));
                }
                Some(heard) = open.next(), if !open.is_empty() => {
                    if let Some(answer) = heard {
                        return answer;
                    }
                }
            }
        }
    }
}

/// The address of a redirect URI that leads back to this host and nowhere else.
fn own(url: &Url) -> Option<SocketAddr> {
    let ip = match url.host()? {
        Host::Ipv4(ip) => ip.into(),
        Host::Ipv6(ip) => ip.into(),
        Host::Domain(name) => (name == "localhost").then_some(Ipv4Addr::LOCALHOST)?.into(),
    };
    let bare = url.username().is_empty() && url.password().is_none();
    let plain = bare && url.query().is_none() && url.fragment().is_none();
    let address = SocketAddr::new(ip, url.port()?);
    (url.scheme() == "http" && plain && address.ip().is_loopback()).then_some(address)
}

/// Reads one request and answers it; none where it was not the one that is waited for.
async fn hear(
    mut stream: TcpStream,
    expected: &Expected<'_>,
) -> Option<Result<Zeroizing<String>, Failure>> {
    let head = read_head(&mut stream).await?;
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = (path == expected.path).then(|| expected.read(query)).flatten();
    let (status, text) = match &answer {
        Some(Ok(_)) => ("200 OK", ARRIVED),
        Some(Err(_)) => ("200 OK", REFUSED),
        None => ("404 Not Found", NOT_OURS),
    };
    let page = format!("<!doctype html><meta charset=utf-8><title>rotate</title><p>{text}</p>\n");
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that has gone has told what it came to tell.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    answer
}

/// The request's head, zeroed when dropped: the code stands in its first line.
async fn read_head(stream: &mut TcpStream) -> Option<Zeroizing<Vec<u8>>> {
    // As large as it may become, so that growing leaves no unzeroed copy behind.
    let mut head = Zeroizing::new(Vec::with_capacity(HEAD_MAX));
    let mut chunk = Zeroizing::new([0_u8; 1024]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read(&mut *chunk).await.ok().filter(|count| *count > 0)?;
        let read = chunk.get(..count).filter(|read| head.len() + read.len() <= HEAD_MAX)?;
        head.extend_from_slice(read);
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'_> = Expected {
        path: "/callback",
        state: "the-state",
        issuer: Some("https://id.example"),
        tells_issuer: true,
    };

    fn read(query: &str) -> Option<Result<String, Reason>> {
        let read = EXPECTED.read(query)?;
        Some(read.map(|code| code.to_string()).map_err(|failure| match failure {
            Failure::Refused(why) => why.reason,
            other => panic!("{other}"),
        }))
    }

    #[test]
    fn the_answer_has_our_state_and_the_issuer_s_name() {
        let iss = "iss=https%3A%2F%2Fid.example";
        assert_eq!(read(&format!("code=c&state=the-state&{iss}")), Some(Ok("c".into())));
        assert_eq!(read(&format!("code=c&state=other&{iss}")), None);
        assert_eq!(read(&format!("code=c&{iss}")), None);
        assert_eq!(read(&format!("code=c&state=the-state&state=the-state&{iss}")), None);
        let somebody = Some(Err(Reason::SomebodyElse));
        assert_eq!(read("code=c&state=the-state"), somebody);
        assert_eq!(read("code=c&state=the-state&iss=https%3A%2F%2Fid.evil"), somebody);
        let twice = read(&format!("code=c&code=d&state=the-state&{iss}"));
        assert_eq!(twice, Some(Err(Reason::Unexpected)));
        let no = read(&format!("error=access_denied&state=the-state&{iss}"));
        assert_eq!(no, Some(Err(Reason::Refused)));
    }

    #[test]
    fn an_issuer_that_does_not_tell_may_be_silent_and_may_not_be_another() {
        let silent = Expected { tells_issuer: false, ..EXPECTED };
        assert!(matches!(silent.read("code=c&state=the-state"), Some(Ok(_))));
        assert!(matches!(silent.read("code=c&state=the-state&iss=x"), Some(Err(_))));
    }

    #[test]
    fn a_redirect_leads_back_to_this_host_alone() {
        let own = |text: &str| own(&text.parse().unwrap()).map(|at| at.port());
        assert_eq!(own("http://127.0.0.1:8765/callback"), Some(8765));
        assert_eq!(own("http://[::1]:8765/"), Some(8765));
        assert_eq!(own("http://localhost:8765/x"), Some(8765));
        for outside in [
            "http://127.0.0.1/callback",
            "https://127.0.0.1:8765/",
            "http://10.0.0.1:8765/",
            "http://0.0.0.0:8765/",
            "http://host.example:8765/",
            "http://user@127.0.0.1:8765/",
            "http://127.0.0.1:8765/?x=y",
        ] {
            assert_eq!(own(outside), None, "{outside}");
        }
    }
}
