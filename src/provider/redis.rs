//! Passwords of Redis ACL users. We choose the password; a user may hold several, so the new one
//! stands beside the old one until that is taken away.
//!
//! Passwords are set and removed by their SHA-256, as Redis itself keeps them: the clear text
//! stands in no command but `AUTH`, and so in no slow log, `MONITOR` or error text.
//!
//! Every node has an ACL of its own. A call goes to all of them at once, and one that fails keeps
//! none of the others from being changed.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use redis::Value;
use sha2::{Digest, Sha256};
use url::Url;

use self::link::{Link, Said};
use super::{Acting, Bases, Driver, Reply, Secrets, hex};
use crate::engine::call::{
    Answer, At, Fault, Holding, Identity, Liveness, Reason, Row, Values, Verb, Why,
};
use crate::engine::capability::{Actor, Seen, StepCapability, Way};
use crate::secret::Secret;

mod link;

/// The handle of a user that accepts any password: a credential that everybody knows.
const ANY_PASSWORD: &str = "nopass";

/// The driver `redis`: kinds `password` and `admin-password`.
#[derive(Default)]
pub struct Redis {}

impl Redis {
    /// It keeps nothing: every call opens its own connections.
    pub fn new() -> Self {
        Self {}
    }
}

#[async_trait]
impl Driver for Redis {
    fn ways(&self, _kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        let admin = || Actor::Admin(None);
        let way = |actor: Actor, parties: &[&str], takes: &[&str]| {
            let step = StepCapability {
                parties: parties.iter().map(|&party| party.to_owned()).collect(),
                takes: takes.iter().map(|&name| name.to_owned()).collect(),
                // All of it can be said twice: the password is ours, and adding it again or
                // taking it away again changes nothing.
                again: true,
                ..StepCapability::new(actor)
            };
            Way::new(vec![step], Seen::Run)
        };
        let needs = |right: &str, way: Way| Way { privilege: Some(right.to_owned()), ..way };
        BTreeMap::from([
            (Verb::Probe, vec![way(Actor::It, &["it"], &[])]),
            (Verb::Find, vec![needs("+acl|getuser", way(admin(), &["admin", "old"], &[]))]),
            (
                Verb::Issue,
                vec![needs(
                    "+acl|getuser +acl|setuser +acl|save",
                    way(admin(), &["admin", "new"], &["handle", "persisted"]),
                )],
            ),
            (
                Verb::Revoke,
                vec![
                    needs(
                        "+acl|setuser +acl|save",
                        way(admin(), &["admin", "old"], &["persisted"]),
                    ),
                    // Last: few users may change their own ACL.
                    needs("+acl|setuser +acl|save", way(Actor::Old, &["old"], &["persisted"])),
                ],
            ),
            (Verb::Evict, vec![needs("+client|kill", way(admin(), &["admin"], &["closed"]))]),
        ])
    }

    fn tells_identity(&self, _kind: &str) -> bool {
        true
    }

    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply {
        let call = Subject { values, secrets };
        let made = match (at.verb, at.way, at.step) {
            // No node was named, so none can refuse.
            _ if bases.is_empty() => Err(Fault::Refused(Reason::MissingValue.into())),
            (Verb::Probe, 0, 0) => probe(bases, &call).await,
            (Verb::Find, 0, 0) => find(bases, &call).await,
            (Verb::Issue, 0, 0) => issue(bases, &call).await,
            (Verb::Revoke, 0, 0) => revoke(bases, &call, "admin").await,
            (Verb::Revoke, 1, 0) => revoke(bases, &call, "old").await,
            (Verb::Evict, 0, 0) => evict(bases, &call).await,
            _ => Err(Fault::Refused(Reason::Unsupported.into())),
        };
        match made {
            Ok(answer) => answer.into(),
            // Neither accepted nor refused: for a probe that is a class of its own.
            Err(Fault::Refused(why)) if at.verb == Verb::Probe => {
                Answer::Saw(Liveness::Unclear(why), Values::new()).into()
            }
            Err(fault) => Answer::Fault(fault).into(),
        }
    }
}

/// Whose password a call is about, and who takes part.
struct Subject<'a> {
    values: &'a Values,
    secrets: &'a Secrets,
}

impl<'a> Subject<'a> {
    fn party(&self, name: &str) -> Result<&'a Acting, Fault> {
        self.secrets.get(name).ok_or(Fault::Refused(Reason::MissingValue.into()))
    }

    /// An empty password would be set as one: everybody knows it.
    fn password(&self, party: &str) -> Result<&'a Secret, Fault> {
        let secret = self.party(party)?.parts.secret.get("secret");
        secret.filter(|s| !s.is_empty()).ok_or(Fault::Refused(Reason::MissingValue.into()))
    }

    fn user(&self) -> Result<&'a str, Fault> {
        let user = self.values.get("username").and_then(serde_json::Value::as_str);
        user.ok_or(Fault::Refused(Reason::MissingValue.into()))
    }

    /// Connects to one node as one of the parties.
    async fn enter(&self, node: &Url, party: &str) -> Result<Link, Fault> {
        let password = self.password(party)?;
        let user = user_of(self.party(party)?)?;
        let mut link = Link::open(node).await?;
        match link.ask(redis::cmd("AUTH").arg(user).arg(password.expose())).await {
            Ok(_) => Ok(link),
            // The command that matters was not sent yet.
            Err(Said::Nothing(reason)) => Err(Fault::NotSent(reason.into())),
            Err(said) => Err(said.fault(Reason::ActorRefused)),
        }
    }
}

/// The ACL user that a party is. An admin that names none is the one of `requirepass`.
fn user_of(party: &Acting) -> Result<&str, Fault> {
    match party.vars.get("username").and_then(serde_json::Value::as_str) {
        Some(user) => Ok(user),
        None if party.kind == "admin-password" => Ok("default"),
        None => Err(Fault::Refused(Reason::MissingValue.into())),
    }
}

/// Alive if any node accepts it, dead if all refuse it.
async fn probe(bases: &Bases, call: &Subject<'_>) -> Result<Answer, Fault> {
    let nodes = join_all(bases.values().map(|node| probe_node(node, call))).await;
    let mut seen = Liveness::Dead { by_name: true };
    let mut unasked = None;
    for node in nodes {
        match node {
            Ok(Liveness::Dead { .. }) => {}
            Ok(alive) => seen = alive,
            Err(fault) => unasked = Some(fault),
        }
    }
    match (seen, unasked) {
        (Liveness::Dead { .. }, Some(fault)) => Err(fault),
        (seen, _) => Ok(Answer::Saw(seen, Values::new())),
    }
}

async fn probe_node(node: &Url, call: &Subject<'_>) -> Result<Liveness, Fault> {
    let user = user_of(call.party("it")?)?;
    let password = call.password("it")?;
    let mut link = Link::open(node).await?;
    match link.ask(redis::cmd("AUTH").arg(user).arg(password.expose())).await {
        Ok(_) => {}
        Err(said) if said.is("WRONGPASS") => return Ok(Liveness::Dead { by_name: true }),
        Err(said) => return Err(said.fault(Reason::NoClass)),
    }
    let name = match link.ask(redis::cmd("ACL").arg("WHOAMI")).await {
        Ok(answer) => text(&answer).map(str::to_owned),
        // It was accepted under this very name, and may not ask for it.
        Err(said) if said.is("NOPERM") => Some(user.to_owned()),
        Err(said) => return Err(said.fault(Reason::NoClass)),
    };
    let identity = Identity(name.ok_or(Fault::Refused(Reason::Unexpected.into()))?);
    Ok(Liveness::Alive(identity))
}

/// One row for each password that the user has on any node.
async fn find(bases: &Bases, call: &Subject<'_>) -> Result<Answer, Fault> {
    let user = call.user()?;
    let key = call.password("admin")?;
    let old = call.password("old").ok().map(digest);
    let listed = join_all(bases.values().map(|node| async move {
        let mut link = call.enter(node, "admin").await?;
        passwords(&mut link, user).await
    }));
    let mut digests = BTreeSet::new();
    for node in listed.await {
        digests.extend(node?);
    }
    let rows = digests
        .iter()
        .map(|listed| Row {
            handle: handle(key, listed),
            hinted: old.as_ref() == Some(listed),
            ..Row::default()
        })
        .collect();
    Ok(Answer::Found { rows, complete: true })
}

async fn issue(bases: &Bases, call: &Subject<'_>) -> Result<Answer, Fault> {
    let user = call.user()?;
    let new = digest(call.password("new")?);
    let (add, save) = (format!("#{new}"), persist(call));
    let set = join_all(bases.values().map(|node| async {
        let mut link = call.enter(node, "admin").await?;
        // SETUSER makes a user that is not there: a wrong name must not.
        passwords(&mut link, user).await?;
        link.ask(redis::cmd("ACL").arg("SETUSER").arg(user).arg(&add))
            .await
            .map_err(|said| said.fault(Reason::Refused))?;
        Ok(Changed { gone: false, persisted: saved(&mut link, save).await })
    }));
    let changed = every(set.await)?;
    let public = Values::from([
        ("handle".to_owned(), handle(call.password("admin")?, &new).into()),
        ("persisted".to_owned(), changed.persisted.into()),
    ]);
    Ok(Answer::Issued(Holding { fingerprint: String::new(), public }))
}

async fn revoke(bases: &Bases, call: &Subject<'_>, party: &str) -> Result<Answer, Fault> {
    let user = call.user()?;
    let (remove, save) = (format!("!{}", digest(call.password("old")?)), persist(call));
    let removed = join_all(bases.values().map(|node| async {
        let mut link = call.enter(node, party).await?;
        let gone = match link.ask(redis::cmd("ACL").arg("SETUSER").arg(user).arg(&remove)).await {
            Ok(_) => false,
            Err(said) if said.mentions("trying to remove from the user does not exist") => true,
            Err(said) => return Err(said.fault(Reason::Refused)),
        };
        // Also where it was gone: whoever removed it may not have come as far as this.
        Ok(Changed { gone, persisted: saved(&mut link, save).await })
    }));
    let changed = every(removed.await)?;
    if changed.gone {
        return Ok(Answer::Gone);
    }
    Ok(Answer::Took(Values::from([("persisted".to_owned(), changed.persisted.into())])))
}

/// Closes every connection of the user but our own. Those opened with the new password are closed
/// too: Redis does not say which password a connection came with.
async fn evict(bases: &Bases, call: &Subject<'_>) -> Result<Answer, Fault> {
    let user = call.user()?;
    let kill =
        redis::cmd("CLIENT").arg("KILL").arg("USER").arg(user).arg("SKIPME").arg("yes").to_owned();
    let killed = join_all(bases.values().map(|node| async {
        let mut link = call.enter(node, "admin").await?;
        match link.ask(&kill).await.map_err(|said| said.fault(Reason::Refused))? {
            Value::Int(count) => Ok(count),
            _ => Err(Fault::Unknown(Reason::Unexpected.into())),
        }
    }));
    let mut closed = 0;
    for node in worst_first(killed.await) {
        closed += node?;
    }
    Ok(Answer::Took(Values::from([("closed".to_owned(), closed.into())])))
}

/// What a change came to, on one node or on all.
struct Changed {
    gone: bool,
    persisted: bool,
}

fn every(nodes: Vec<Result<Changed, Fault>>) -> Result<Changed, Fault> {
    let mut all = Changed { gone: true, persisted: true };
    for node in worst_first(nodes) {
        let node = node?;
        all.gone &= node.gone;
        all.persisted &= node.persisted;
    }
    Ok(all)
}

/// Of several faults the one that leaves most open is told: what may have happened, then what was
/// refused, then what was not sent.
fn worst_first<T>(mut nodes: Vec<Result<T, Fault>>) -> Vec<Result<T, Fault>> {
    nodes.sort_by_key(|node| match node {
        Err(Fault::Unknown(_)) => 0,
        Err(Fault::Refused(_)) => 1,
        Err(Fault::Throttled(_)) => 2,
        Err(Fault::NotSent(_)) => 3,
        Ok(_) => 4,
    });
    nodes
}

/// How a change outlives a restart of the server.
#[derive(Clone, Copy)]
enum Persist {
    AclSave,
    ConfigRewrite,
    No,
}

fn persist(call: &Subject<'_>) -> Persist {
    match call.values.get("persist").and_then(serde_json::Value::as_str) {
        Some("config-rewrite") => Persist::ConfigRewrite,
        Some("none") => Persist::No,
        _ => Persist::AclSave,
    }
}

/// Whether the change was written down. A server without an ACL file refuses, and that undoes
/// nothing: the change holds until it restarts.
async fn saved(link: &mut Link, how: Persist) -> bool {
    let command = match how {
        Persist::AclSave => redis::cmd("ACL").arg("SAVE").to_owned(),
        Persist::ConfigRewrite => redis::cmd("CONFIG").arg("REWRITE").to_owned(),
        Persist::No => return false,
    };
    link.ask(&command).await.is_ok()
}

/// The SHA-256 of each password that the user has on this node, and [`ANY_PASSWORD`] if it needs
/// none.
async fn passwords(link: &mut Link, user: &str) -> Result<Vec<String>, Fault> {
    let asked = link.ask(redis::cmd("ACL").arg("GETUSER").arg(user)).await;
    let fields = match asked.map_err(|said| said.fault(Reason::Refused))? {
        Value::Array(fields) => fields,
        // Redis's answer for a user that is not there.
        Value::Nil => {
            let word = Some("nil".to_owned());
            return Err(Fault::Refused(Why { reason: Reason::Refused, status: None, word }));
        }
        _ => return Err(Fault::Unknown(Reason::Unexpected.into())),
    };
    let mut found = Vec::new();
    for pair in fields.chunks_exact(2) {
        let [name, Value::Array(list)] = pair else { continue };
        let list = list.iter().filter_map(text);
        match text(name) {
            Some("passwords") => found.extend(list.map(str::to_owned)),
            Some("flags") => {
                found.extend(list.filter(|&flag| flag == ANY_PASSWORD).map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// As Redis keeps it.
fn digest(password: &Secret) -> String {
    hex(&Sha256::digest(password.expose()))
}

/// Names one password of a user: 64 bits, no collision among the handful that a user has. Keyed,
/// because handles are written down and a plain hash of a weak password can be guessed; keyed by
/// the admin's password, because it is the same in every run that may compare them.
fn handle(key: &Secret, digest: &str) -> String {
    if digest == ANY_PASSWORD {
        return ANY_PASSWORD.to_owned();
    }
    // HMAC takes a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        return String::new();
    };
    mac.update(digest.as_bytes());
    hex(&mac.finalize().into_bytes()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_the_same_for_one_admin_and_tells_another_nothing() {
        let (password, admin) = (Secret::from("hunter2".to_owned()), Secret::from("a".to_owned()));
        let named = handle(&admin, &digest(&password));
        assert_eq!(named, handle(&admin, &digest(&password)));
        assert_ne!(named, handle(&Secret::from("b".to_owned()), &digest(&password)));
        assert!(!digest(&password).contains(&named));
        assert_eq!(named.len(), 16);
    }

    #[test]
    fn the_digest_is_the_one_redis_keeps() {
        let known = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        assert_eq!(digest(&Secret::from("hunter2".to_owned())), known);
    }

    #[test]
    fn of_several_nodes_the_one_that_leaves_most_open_is_told() {
        let not_sent = || Err(Fault::NotSent(Reason::Connect.into()));
        let unknown = || Err(Fault::Unknown(Reason::Reset.into()));
        let done = || Ok(Changed { gone: true, persisted: true });
        let told = |nodes| every(nodes).err();
        assert_eq!(told(vec![done(), not_sent(), unknown()]), unknown().err());
        assert_eq!(told(vec![done(), not_sent()]), not_sent().err());
        let one_was_left = vec![done(), Ok(Changed { gone: false, persisted: false })];
        assert!(every(one_was_left).is_ok_and(|all| !all.gone && !all.persisted));
    }
}
