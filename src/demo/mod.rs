//! The embedded lab behind `rotate demo`: servers on loopback, and a throw-away folder with an
//! inventory, places that hold keys, and a state directory. Nothing outside the folder is touched.
//!
//! Three servers: an API-key provider whose revoked keys die late and flap, the same provider
//! lying about every revocation, and an OAuth server. The lab answers `Lab::verify` from the
//! servers' own memory, so what a report claims can be held against what is so.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use zeroize::Zeroizing;

use acme::{Acme, Honesty};
use oauth::OAuth;

mod acme;
mod folder;
mod oauth;

/// The role that went wrong.
pub const ROLE: &str = "mail-agent";

/// The running lab. Dropping it ends the servers and removes the folder.
pub struct Lab {
    folder: PathBuf,
    _removed_on_drop: TempDir,
    acme: Arc<Acme>,
    archive: Arc<Acme>,
    oauth: Arc<OAuth>,
    seeds: Vec<Seed>,
    _stop: watch::Sender<()>,
}

/// The lab cannot be built on this machine.
#[derive(Debug, thiserror::Error)]
#[error("demo lab: cannot {doing}")]
pub struct CannotStart {
    doing: &'static str,
    #[source]
    cause: io::Error,
}

/// What is so, of one credential, by the memory of its server and the bytes in its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// `ROLE/NAME`, as in the report.
    pub(crate) credential: &'static str,
    /// What the report should say of the old one: `dead`, or `alive` where the provider lies.
    pub(crate) verdict: &'static str,
    /// Whether its server still accepts the old one.
    pub(crate) old_alive: bool,
    /// Every place holds one and the same value, and it is not the old one.
    pub(crate) replaced: bool,
    /// Whether the server accepts what the first place holds now.
    pub(crate) placed_alive: bool,
}

/// Requests each server has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asks {
    /// The API-key provider.
    pub(crate) acme: u64,
    /// The one that lies.
    pub(crate) archive: u64,
    /// The OAuth server.
    pub(crate) oauth: u64,
}

/// One credential the role held before the incident.
struct Seed {
    credential: &'static str,
    server: Server,
    old: Zeroizing<String>,
    places: &'static [Place],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Acme,
    Archive,
    OAuth,
}

/// A place in the folder that holds one value.
enum Place {
    /// `KEY` of a `.env` file.
    Dotenv { file: &'static str, key: &'static str },
    /// A top-level string of a JSON file.
    Json { file: &'static str, key: &'static str },
}

impl Lab {
    /// Starts the servers on free loopback ports and fills the folder.
    ///
    /// # Errors
    /// [`CannotStart`] if no port or no temporary folder can be had.
    pub async fn start() -> Result<Self, CannotStart> {
        let (stop, stopped) = watch::channel(());
        let acme = Acme::new(Honesty::Honest);
        let archive = Acme::new(Honesty::Liar);
        let acme_at = serve(listen().await?, acme.router(), stopped.clone())?;
        let archive_at = serve(listen().await?, archive.router(), stopped.clone())?;
        let listener = listen().await?;
        let oauth = OAuth::new(format!("http://{}", address(&listener)?));
        let oauth_at = serve(listener, oauth.router(), stopped)?;

        let seeds = seeds(&acme, &archive, &oauth);
        let temporary = tempfile::Builder::new()
            .prefix("rotate-demo-")
            .tempdir()
            .map_err(failing("make a temporary folder"))?;
        // A link on the way to a place is refused, and some systems' temporary folder is one.
        let folder =
            temporary.path().canonicalize().map_err(failing("find its temporary folder"))?;
        let admins = folder::Admins {
            acme: acme.admin(),
            archive: archive.admin(),
            client_id: oauth::CLIENT_ID,
            client_secret: oauth.client_secret(),
        };
        let addresses = folder::Addresses { acme: acme_at, archive: archive_at, oauth: oauth_at };
        folder::fill(&folder, &addresses, &admins, &seeds).map_err(failing("fill its folder"))?;
        Ok(Self { folder, _removed_on_drop: temporary, acme, archive, oauth, seeds, _stop: stop })
    }

    /// The folder everything lies in, for a person who wants to look around.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The inventory to run with.
    pub fn inventory_path(&self) -> PathBuf {
        self.folder().join(folder::INVENTORY)
    }

    /// A state directory that is the lab's own, 0700.
    pub fn state_dir(&self) -> PathBuf {
        self.folder().join(folder::STATE)
    }

    /// What is so now, credential by credential, without a request: to be held against a report.
    ///
    /// # Errors
    /// An [`io::Error`] if a place of the role cannot be read.
    pub(crate) fn verify(&self) -> io::Result<Vec<Truth>> {
        self.seeds.iter().map(|seed| self.truth(seed)).collect()
    }

    /// Ids that the two API-key servers list: after a run each shows what that run issued, and
    /// nothing besides.
    pub(crate) fn listed(&self) -> Vec<String> {
        [self.acme.listed(), self.archive.listed()].concat()
    }

    /// Requests heard so far.
    pub(crate) fn asks(&self) -> Asks {
        Asks { acme: self.acme.asks(), archive: self.archive.asks(), oauth: self.oauth.asks() }
    }

    fn truth(&self, seed: &Seed) -> io::Result<Truth> {
        let mut held = Vec::with_capacity(seed.places.len());
        for place in seed.places {
            held.push(folder::read(self.folder(), place)?);
        }
        let first = held.first().map(|value| value.as_str()).unwrap_or_default();
        Ok(Truth {
            credential: seed.credential,
            verdict: if seed.server == Server::Archive { "alive" } else { "dead" },
            old_alive: self.is_alive(seed.server, &seed.old),
            replaced: held.iter().all(|value| **value == *first) && *first != *seed.old,
            placed_alive: self.is_alive(seed.server, first),
        })
    }

    fn is_alive(&self, server: Server, value: &str) -> bool {
        match server {
            Server::Acme => self.acme.is_alive(value),
            Server::Archive => self.archive.is_alive(value),
            Server::OAuth => self.oauth.is_alive(value),
        }
    }
}

fn seeds(acme: &Acme, archive: &Acme, oauth: &OAuth) -> Vec<Seed> {
    const MAIL: &str = "mail-agent/.env";
    vec![
        Seed {
            credential: "mail-agent/mail-api",
            server: Server::Acme,
            old: acme.seed("mail-agent mail"),
            places: &[Place::Dotenv { file: MAIL, key: "MAIL_API_KEY" }],
        },
        Seed {
            credential: "calendar-agent/search",
            server: Server::Acme,
            old: acme.seed("shared search"),
            places: &[
                Place::Dotenv { file: "calendar-agent/.env", key: "SEARCH_API_KEY" },
                Place::Dotenv { file: MAIL, key: "SEARCH_API_KEY" },
            ],
        },
        Seed {
            credential: "mail-agent/archive",
            server: Server::Archive,
            old: archive.seed("mail-agent archive"),
            places: &[Place::Dotenv { file: MAIL, key: "ARCHIVE_API_KEY" }],
        },
        Seed {
            credential: "mail-agent/inbox",
            server: Server::OAuth,
            old: oauth.seed(),
            places: &[Place::Json { file: "mail-agent/token.json", key: "access_token" }],
        },
    ]
}

async fn listen() -> Result<TcpListener, CannotStart> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failing("listen on loopback"))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, CannotStart> {
    listener.local_addr().map_err(failing("listen on loopback"))
}

/// Serves until the other end of `stopped` is dropped; its address.
fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<()>,
) -> Result<SocketAddr, CannotStart> {
    let at = address(&listener)?;
    tokio::spawn(async move {
        // The sender is never used: what ends this wait is that it is dropped.
        let stop = async move { drop(stopped.changed().await) };
        axum::serve(listener, router).with_graceful_shutdown(stop).await
    });
    Ok(at)
}

fn failing(doing: &'static str) -> impl FnOnce(io::Error) -> CannotStart {
    move |cause| CannotStart { doing, cause }
}

/// The servers' own clock, for the dates they tell; a run never sees it.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// `prefix` and 32 letters and digits: 190 bits, more than anybody guesses.
fn random(prefix: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 32));
    text.push_str(prefix);
    Alphanumeric.append_string(&mut rand::rng(), &mut text, 32);
    text
}

#[cfg(test)]
mod tests;
