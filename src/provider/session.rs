//! Web sessions: cookies replayed as the client that they were recorded from.
//!
//! A stolen cookie dies only if the server forgets it, so a session is ended in its store, by its
//! own sign-out with the CSRF token that this needs, or by the site's "sign out everywhere". What
//! the page that names its user answers to the cookie is the proof, and only as long as the same
//! page does not name that user to somebody without a cookie.
//!
//! Sites hand out new session ids when nobody asked for one. One that is handed to us together with
//! what only a signed-in user sees is remembered, in memory alone, and ended with the session that
//! it came from; once that one's revocation was accepted, by the very look that it came with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use self::cookie::Jar;
use self::handed::{Given, Handed};
use self::page::Reception;
use self::sign::{Cookies, Ended};
use self::site::Site;
use self::wire::{Failure, refused};
use super::{Acting, Bases, Driver, Reply, Secrets, SharedClients};
use crate::engine::call::{Answer, At, Holding, Liveness, Reason, Values, Verb, Why};
use crate::engine::capability::{Actor, Blast, Radius, Seen, StepCapability, Way};
use crate::secret::{Parts, Secret};

mod cookie;
mod handed;
mod page;
mod sign;
mod site;
mod store;
mod wire;

/// Pages whose answer to a visitor without cookies is kept. A run meets a handful.
const PAGES_MAX: usize = 64;

/// How long a look ends what was handed to us: three requests of a slow site, and half of what the
/// look as a whole may take. The next look goes on with what is left.
const ENDING: Duration = Duration::from_secs(10);

/// Ways of a revocation, best first.
const BY_STORE: u16 = 0;
const BY_HANDLE: u16 = 1;
const BY_SIGN_OUT: u16 = 2;
const EVERYWHERE: u16 = 3;

/// The driver `session`: kinds `session-cookie`, `remember-me` and `signed-cookie`.
pub struct WebSession {
    clients: SharedClients,
    /// By page: how it receives a visitor without cookies.
    anonymous: Mutex<BTreeMap<String, Reception>>,
    handed: Handed,
}

impl WebSession {
    /// A driver over the shared clients.
    pub fn new(clients: SharedClients) -> Self {
        Self { clients, anonymous: Mutex::default(), handed: Handed::default() }
    }

    async fn probe(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let site = Site::new(&self.clients.probes, call.bases, call.values)?;
        let cookies = Cookies::of(&site)?;
        let it = call.cookie("it")?;
        let given = self.handed.to(it);
        let look = sign::look(&site, cookies, it, given);
        let (nobody, seen) = futures::join!(self.without_cookies(&site, call), look);
        let (reception, handed) = seen?;
        let liveness = match (reception, nobody) {
            // Whoever is known without a cookie is known with any.
            (_, Ok(Reception::Known(_))) => {
                handed.iter().for_each(|session| given.strike(session));
                return Err(refused(Reason::NoClass, "accepted-without-cookie"));
            }
            (Reception::Known(_), Err(failure)) => return Err(failure),
            (Reception::Known(_), Ok(Reception::Unclear(why))) => Liveness::Unclear(why),
            (Reception::Known(user), Ok(Reception::Nobody(..) | Reception::Refused(_))) => {
                if cookie::shows(&user.0, it) {
                    return Err(Reason::Echo.into());
                }
                Liveness::Alive(user)
            }
            (Reception::Refused(status), Ok(Reception::Refused(same))) if status == same => {
                Liveness::Dead { by_name: true }
            }
            (Reception::Refused(status), _) => {
                let reason = Reason::NoClass;
                Liveness::Unclear(Why { reason, status: Some(status), word: None })
            }
            // In the very way in which the site receives a visitor without cookies.
            (nobody @ Reception::Nobody(..), Ok(same)) => {
                Liveness::Dead { by_name: nobody == same }
            }
            (Reception::Nobody(..), Err(_)) => Liveness::Dead { by_name: false },
            (Reception::Unclear(why), _) => Liveness::Unclear(why),
        };
        let left_over = given.left_over();
        match liveness {
            // The old one is not dead while what it handed us lives.
            Liveness::Dead { .. } if left_over => self.end_left_over(call, given).await?,
            // What is not ended now is left to the next look: that the old one lives is the news.
            Liveness::Alive(_) if left_over && site.word("logout").is_some() => {
                let _ = self.end_left_over(call, given).await;
            }
            _ => {}
        }
        Ok(Answer::Saw(liveness, Values::new()))
    }

    /// Ends what no revocation will end: the one of its cookie was accepted before. Never
    /// everywhere: by now that may end the new one.
    async fn end_left_over(&self, call: &Call<'_>, given: Given<'_>) -> Result<(), Failure> {
        let site = Site::new(&self.clients.calls, call.bases, call.values)?;
        let ended = sign::handed_out(&site, site.word("logout"), Cookies::of(&site)?, given);
        let lost = |_| Failure::Lost(Reason::Timeout.into());
        timeout(ENDING, ended).await.map_err(lost)?
    }

    /// How the page receives a visitor without cookies: asked once, and again while it is unclear.
    async fn without_cookies(
        &self,
        site: &Site<'_>,
        call: &Call<'_>,
    ) -> Result<Reception, Failure> {
        let page =
            format!("{:?}", [call.bases.get("api").map(url::Url::as_str), site.word("page")]);
        let signs = format!("{page}{:?}", [site.word("marker"), site.word("who_at")]);
        if let Some(reception) = self.known_page(&signs) {
            return Ok(reception);
        }
        let (reception, _) = site.receives(&Jar::default()).await?;
        if !matches!(reception, Reception::Unclear(_)) {
            let mut known = self.anonymous.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < PAGES_MAX {
                known.insert(signs, reception.clone());
            }
        }
        Ok(reception)
    }

    fn known_page(&self, signs: &str) -> Option<Reception> {
        let known = self.anonymous.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(signs).cloned()
    }

    /// Ends the old one, and what was handed to us for it, in one way.
    async fn revoke(&self, at: &At, call: &Call<'_>) -> Result<Answer, Failure> {
        let site = Site::new(&self.clients.calls, call.bases, call.values)?;
        if at.way == BY_HANDLE {
            return by_handle(call).await;
        }
        let old = call.cookie("old")?;
        let given = self.handed.to(old);
        let ended = match at.way {
            BY_STORE => in_store(call, &site, old, given).await?,
            BY_SIGN_OUT => sign_out(&site, "logout", old, given).await?,
            EVERYWHERE => sign_out(&site, "everywhere", old, given).await?,
            _ => return Err(Reason::Unsupported.into()),
        };
        given.revoked();
        Ok(match ended {
            Ended::Said => Answer::Done,
            Ended::Before => Answer::Gone,
        })
    }

    async fn issue(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let account = call.party("admin.account")?;
        // One that was named for everything may be a store.
        if account.kind != "account" {
            return Err(Reason::MissingValue.into());
        }
        let site = Site::new(&self.clients.calls, call.bases, call.values)?;
        let cookie = sign::r#in(&site, Cookies::of(&site)?, account).await?;
        let mut public = Values::new();
        public.extend(handle_of(call.values, &cookie).map(|it| ("handle".to_owned(), it.into())));
        let holding = Holding { fingerprint: String::new(), public };
        let brought = Parts { secret: [("secret".to_owned(), cookie)].into(), ..Parts::default() };
        Ok(Reply { answer: Answer::Issued(holding), brought: Some(brought) })
    }
}

#[async_trait]
impl Driver for WebSession {
    fn ways(&self, kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        let store = || Actor::Admin(Some("store".to_owned()));
        let account = Actor::Admin(Some("account".to_owned()));
        let issue = step(account, &["admin.account"], &[], &["secret", "handle"]);
        let mut verbs = BTreeMap::from([
            (Verb::Probe, vec![way(step(Actor::It, &["it"], &[], &[]))]),
            // Never sent again: whoever signs in twice has two sessions.
            (Verb::Issue, vec![way(StepCapability { again: false, ..issue })]),
        ]);
        if kind == "signed-cookie" {
            return verbs;
        }
        let everywhere = way(step(Actor::Old, &["old"], &[], &[]));
        let of_user = Blast { kills: Radius::User, key: vec!["user".to_owned()] };
        verbs.extend([
            (Verb::Learn, vec![way(step(Actor::Old, &["old"], &[], &["handle"]))]),
            (Verb::Find, vec![way(step(store(), &["admin.store", "old"], &[], &["hint"]))]),
            (
                Verb::Revoke,
                vec![
                    way(step(store(), &["admin.store", "old"], &[], &[])),
                    way(step(store(), &["admin.store"], &["handle"], &[])),
                    way(step(Actor::Old, &["old"], &[], &[])),
                    Way { blast: Some(of_user), ..everywhere },
                ],
            ),
        ]);
        verbs
    }

    fn tells_identity(&self, _kind: &str) -> bool {
        true
    }

    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        let call = Call { bases, values, secrets };
        let made = match at.verb {
            Verb::Probe => {
                return self.probe(&call).await.unwrap_or_else(Failure::sight).into();
            }
            Verb::Learn => learn(&call).map(Reply::from),
            Verb::Find => find(&call).await.map(Reply::from),
            Verb::Revoke => self.revoke(at, &call).await.map(Reply::from),
            Verb::Issue => self.issue(&call).await,
            _ => Err(Reason::Unsupported.into()),
        };
        made.unwrap_or_else(|failure| {
            let makes = at.verb == Verb::Issue;
            Answer::Fault(if makes { failure.of_making() } else { failure.fault() }).into()
        })
    }
}

/// One call: where to, about what, and who takes part.
struct Call<'a> {
    bases: &'a Bases,
    values: &'a Values,
    secrets: &'a Secrets,
}

impl<'a> Call<'a> {
    fn party(&self, name: &str) -> Result<&'a Acting, Failure> {
        self.secrets.get(name).ok_or_else(|| Reason::MissingValue.into())
    }

    /// The cookie of one of them. An empty one is no session of anybody.
    fn cookie(&self, party: &str) -> Result<&'a Secret, Failure> {
        let secret = self.party(party)?.parts.secret.get("secret");
        secret.filter(|it| !it.is_empty()).ok_or_else(|| Reason::MissingValue.into())
    }
}

/// What a session is called in lists; none where its value is no session of its framework.
fn handle_of(values: &Values, cookie: &Secret) -> Option<String> {
    store::names(values, cookie).ok()?.first().map(|name| store::handle(name))
}

/// Needs no request: a session is named by what its store calls it.
fn learn(call: &Call<'_>) -> Result<Answer, Failure> {
    let handle = handle_of(call.values, call.cookie("old")?);
    Ok(Answer::Took(handle.into_iter().map(|it| ("handle".to_owned(), it.into())).collect()))
}

/// Every session of the user in its store.
async fn find(call: &Call<'_>) -> Result<Answer, Failure> {
    let old = store::names(call.values, call.cookie("old")?)?;
    let sessions = sessions(call).await?;
    Ok(Answer::Found { rows: store::rows(&sessions, &old), complete: sessions.complete })
}

async fn sessions(call: &Call<'_>) -> Result<store::Sessions, Failure> {
    let user = call.values.get("user").and_then(serde_json::Value::as_str);
    let user = user.ok_or(Reason::MissingValue)?;
    let mut store = store::open(call.bases, call.party("admin.store")?, call.values).await?;
    store.of_user(user).await
}

/// Deletes the session of a user that a list called by this handle.
async fn by_handle(call: &Call<'_>) -> Result<Answer, Failure> {
    let handle = call.values.get("handle").and_then(serde_json::Value::as_str);
    let handle = handle.ok_or(Reason::MissingValue)?;
    let sessions = sessions(call).await?;
    let named = sessions.names.into_iter().find(|name| store::handle(name) == handle);
    let Some(name) = named else { return Err(refused(Reason::Refused, "not-found")) };
    let mut store = store::open(call.bases, call.party("admin.store")?, call.values).await?;
    match store.remove(&[name]).await? {
        0 => Ok(Answer::Gone),
        _ => Ok(Answer::Done),
    }
}

/// Deletes a session in its store. One that is not there may be another store's: it is gone only
/// if the site says so.
async fn in_store(
    call: &Call<'_>,
    site: &Site<'_>,
    old: &Secret,
    given: Given<'_>,
) -> Result<Ended, Failure> {
    let names = store::names(call.values, old)?;
    let mut store = store::open(call.bases, call.party("admin.store")?, call.values).await?;
    let removed = store.remove(&names).await?;
    let cookies = Cookies::of(site)?;
    // A store of remembered sign-ins has no sessions.
    let sessions = if cookies.own == cookies.session { given.living() } else { Vec::new() };
    for session in sessions {
        if store.remove(&store::names(call.values, &session)?).await? > 0 {
            given.strike(&session);
        }
    }
    sign::handed_out(site, site.word("logout"), cookies, given).await?;
    if removed > 0 {
        return Ok(Ended::Said);
    }
    match sign::look(site, cookies, old, given).await {
        Ok((Reception::Nobody(..), _)) => Ok(Ended::Before),
        _ => Err(refused(Reason::Refused, "not-found")),
    }
}

/// Signs out at the path that a var names.
async fn sign_out(
    site: &Site<'_>,
    var: &str,
    old: &Secret,
    given: Given<'_>,
) -> Result<Ended, Failure> {
    let (path, cookies) = (site.demand(var)?, Cookies::of(site)?);
    let alone = given.living().is_empty();
    sign::handed_out(site, Some(path), cookies, given).await?;
    let ended = sign::out(site, path, cookies, old, given).await?;
    sign::handed_out(site, Some(path), cookies, given).await?;
    // Ours ended it a moment ago, together with what was handed to us.
    Ok(if alone { ended } else { Ended::Said })
}

fn way(step: StepCapability) -> Way {
    Way::new(vec![step], Seen::Run)
}

fn step(actor: Actor, parties: &[&str], needs: &[&str], takes: &[&str]) -> StepCapability {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    StepCapability {
        parties: owned(parties),
        needs: owned(needs),
        takes: owned(takes),
        again: true,
        ..StepCapability::new(actor)
    }
}
