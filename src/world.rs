//! One call made: the only entry to providers, stores and platforms. It always answers.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;

use crate::engine::call::{
    Answer, Call, CallId, Delivery, Fault, Holding, Liveness, PlaceState, Placed, Reason, Request,
    RoleIndex, Task, Values, Verb, Why,
};
use crate::engine::capability::{Part, PartType};
use crate::inventory::SecretRef;
use crate::platform::{self, Reloads};
use crate::provider::{Acting, Provider, Reply, Secrets};
use crate::seal::Seal;
use crate::secret::{FingerprintKey, Parts, Secret};
use crate::store::{Edit, Stores};
use crate::vault::Vault;

/// A local file is read in milliseconds; a place that takes longer hangs on a dead network mount,
/// and a kill that waits for it is late.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// A delivery waits for the disk twice per file. Half a minute is far beyond a loaded disk and
/// still within a responder's patience.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// What a call came to, and the bytes it brought.
pub struct Made {
    /// What the engine hears.
    pub answer: Answer,
    /// What read, generate, issue and roll brought: kept and sealed under the call's id, in the
    /// same durable write as the answer.
    pub brought: Option<Parts>,
}

impl From<Answer> for Made {
    fn from(answer: Answer) -> Self {
        Self { answer, brought: None }
    }
}

/// Everything outside.
#[async_trait]
pub trait World: Send + Sync {
    /// Makes one call; it always answers. The bytes it brings are the caller's to put into the
    /// vault: it is only read from here.
    async fn make(&self, id: CallId, call: &Call, vault: &Vault) -> Made;
}

/// Finds a provider by its id in the run.
pub type Lookup = Arc<dyn Fn(&str) -> Option<Arc<dyn Provider>> + Send + Sync>;

/// Whether commands of the inventory (`stop`, `reload`) are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// They are.
    Allowed,
    /// Somebody else may have written the inventory.
    Untrusted,
    /// The agent's disk is looked at from another host: they would act on the wrong one.
    Elsewhere,
}

/// Where evidence goes.
pub struct Evidence {
    /// The folder of the sealed archives.
    pub dir: PathBuf,
    /// The run's id, as it stands in the archive's name.
    pub run: String,
    /// Names of the plan's roles, by [`RoleIndex`].
    pub roles: Vec<String>,
    /// Where absolute globs begin, if not at `/`.
    pub root: Option<PathBuf>,
}

/// The world as it is.
pub struct LiveWorld {
    /// Providers of this run.
    pub providers: Lookup,
    /// Stores of this run.
    pub stores: Stores,
    /// Makes fingerprints.
    pub fingerprints: FingerprintKey,
    /// Seals evidence.
    pub seal: Arc<Seal>,
    /// Where evidence goes.
    pub evidence: Evidence,
    /// Whether commands are run.
    pub commands: Commands,
    /// Commands that make a place's user read it again.
    pub reloads: Reloads,
}

#[async_trait]
impl World for LiveWorld {
    async fn make(&self, _id: CallId, call: &Call, vault: &Vault) -> Made {
        // A driver that panics costs its own call, never the run.
        let made = AssertUnwindSafe(self.dispatch(&call.task, vault)).catch_unwind().await;
        made.unwrap_or_else(|_| lost(&call.task, Reason::Unexpected).into())
    }
}

/// The answer to a call of which nobody knows whether it happened.
fn lost(task: &Task, reason: Reason) -> Answer {
    match task {
        Task::Ask(request) if request.at.verb == Verb::Probe => {
            Answer::Saw(Liveness::Unclear(reason.into()), Values::new())
        }
        _ => Answer::Fault(Fault::Unknown(reason.into())),
    }
}

impl LiveWorld {
    async fn dispatch(&self, task: &Task, vault: &Vault) -> Made {
        let done = match task {
            Task::Read { provider, kind, parts } => {
                self.read(provider, kind, parts).await.map_err(Fault::Refused)
            }
            Task::Generate { provider, kind } => {
                self.generate(provider, kind).map_err(Fault::Refused)
            }
            Task::Ask(request) => self.ask(task, request, vault).await.map_err(Fault::Refused),
            Task::Deliver(delivery) => self.deliver(delivery, vault).await.map(Made::from),
            Task::Stop { argv, .. } => self.stop(argv).await.map(Made::from),
            Task::Preserve { role, globs } => self.preserve(*role, globs).await.map(Made::from),
        };
        done.unwrap_or_else(|fault| Answer::Fault(fault).into())
    }

    fn provider(&self, id: &str) -> Result<Arc<dyn Provider>, Why> {
        (self.providers)(id).ok_or_else(|| Reason::Unsupported.into())
    }

    async fn read(
        &self,
        provider: &str,
        kind: &str,
        places: &BTreeMap<String, SecretRef>,
    ) -> Result<Made, Why> {
        let provider = self.provider(provider)?;
        let described = provider.capability().kinds.get(kind).map(|kind| &kind.parts);
        let mut parts = Parts::default();
        for (name, place) in places {
            let read = tokio::time::timeout(READ_LIMIT, self.stores.read(place)).await;
            let optional =
                described.and_then(|parts| parts.get(name)).is_some_and(|part| part.optional);
            match read.unwrap_or_else(|_| Err(Reason::Timeout.into())) {
                Ok(value) => {
                    parts.secret.insert(name.clone(), value);
                }
                Err(why) if optional && absent(&why) => {}
                Err(why) => return Err(why),
            }
        }
        if parts.secret.is_empty() {
            return Err(Reason::Empty.into());
        }
        provider.split(kind, &mut parts);
        if let Some(described) = described {
            publish(&mut parts, described)?;
        }
        Ok(Made { answer: Answer::Held(self.holding(&parts)), brought: Some(parts) })
    }

    fn generate(&self, provider: &str, kind: &str) -> Result<Made, Why> {
        let secret = self.provider(provider)?.generate(kind).ok_or(Reason::Unsupported)?;
        let parts = Parts { public: Values::new(), secret: [("secret".to_owned(), secret)].into() };
        Ok(Made { answer: Answer::Held(self.holding(&parts)), brought: Some(parts) })
    }

    fn holding(&self, parts: &Parts) -> Holding {
        let fingerprint = match parts.secret.is_empty() {
            true => String::new(),
            false => self.fingerprints.of(parts),
        };
        Holding { fingerprint, public: parts.public.clone() }
    }

    async fn ask(&self, task: &Task, request: &Request, vault: &Vault) -> Result<Made, Why> {
        let provider = self.provider(&request.at.provider)?;
        let mut secrets = Secrets::new();
        for (name, party) in &request.parties {
            let mut parts = vault.parts(party)?;
            if party.made_up {
                parts = self.provider(&party.provider)?.made_up(&party.kind, &parts);
            }
            secrets.insert(
                name.clone(),
                Acting {
                    provider: party.provider.clone(),
                    kind: party.kind.clone(),
                    vars: party.vars.clone(),
                    parts,
                },
            );
        }
        let limit = Duration::from_millis(request.deadline_ms);
        let call = provider.call(&request.at, &request.values, &secrets);
        let Ok(Reply { mut answer, brought }) = tokio::time::timeout(limit, call).await else {
            return Ok(lost(task, Reason::Timeout).into());
        };
        if let (Answer::Issued(holding), Some(parts)) = (&mut answer, &brought) {
            let known = self.holding(parts);
            holding.fingerprint = known.fingerprint;
            for (name, value) in known.public {
                holding.public.entry(name).or_insert(value);
            }
        }
        Ok(Made { answer, brought })
    }

    async fn deliver(&self, delivery: &Delivery, vault: &Vault) -> Result<Answer, Fault> {
        let edits = self.edits(delivery, vault).map_err(Fault::Refused)?;
        let places: Vec<String> = edits.iter().map(|edit| edit.to.to_string()).collect();
        let written = tokio::time::timeout(WRITE_LIMIT, self.stores.deliver(edits)).await;
        let states = written.unwrap_or_else(|_| Err(Fault::Unknown(Reason::Timeout.into())))?;
        let reached = self.reload(delivery).await;
        let placed = places.into_iter().zip(states);
        Ok(Answer::Placed(
            placed.map(|(to, state)| Placed { to, state: reached.unwrap_or(state) }).collect(),
        ))
    }

    /// One edit per place and part. A part that the new one does not have keeps its place as it
    /// is if the kind says that it may be absent.
    fn edits(&self, delivery: &Delivery, vault: &Vault) -> Result<Vec<Edit>, Why> {
        let new = vault.parts(&delivery.new)?;
        let old = delivery.old.as_ref().map(|old| vault.parts(old)).transpose()?;
        let provider = self.provider(&delivery.new.provider)?;
        let kind = provider.capability().kinds.get(&delivery.new.kind);
        let mut edits = Vec::new();
        for (name, to) in delivery.places.iter().flatten() {
            let optional =
                kind.and_then(|kind| kind.parts.get(name)).is_some_and(|part| part.optional);
            let Some(value) = part(&new, name) else {
                if optional {
                    continue;
                }
                return Err(Reason::MissingValue.into());
            };
            let old = old.as_ref().map(|old| part(old, name).unwrap_or(Secret::new(Vec::new())));
            edits.push(Edit { to: to.clone(), old, new: value });
        }
        Ok(edits)
    }

    /// How far the user of the places came; none where it went no further than the writing.
    async fn reload(&self, delivery: &Delivery) -> Option<PlaceState> {
        if delivery.read_on_use {
            return Some(PlaceState::InUse);
        }
        if delivery.reload.is_empty() || self.commands != Commands::Allowed {
            return None;
        }
        match self.reloads.run(&delivery.reload).await {
            Ok(()) => Some(PlaceState::Reloaded),
            Err(_) => None,
        }
    }

    async fn stop(&self, argv: &[String]) -> Result<Answer, Fault> {
        match self.commands {
            Commands::Allowed => {
                platform::run(argv, platform::STOP_LIMIT).await.map(|()| Answer::Done)
            }
            Commands::Untrusted => Err(Fault::Refused(Reason::Untrusted.into())),
            Commands::Elsewhere => Err(Fault::Refused(Reason::Unsupported.into())),
        }
    }

    async fn preserve(&self, role: RoleIndex, globs: &[String]) -> Result<Answer, Fault> {
        let index = usize::try_from(role.0).unwrap_or(usize::MAX);
        let name = self.evidence.roles.get(index).cloned().unwrap_or_else(|| role.0.to_string());
        let job = platform::Preservation {
            globs: globs.to_vec(),
            root: self.evidence.root.clone(),
            dir: self.evidence.dir.clone(),
            name: format!("evidence-{}-{name}", self.evidence.run),
        };
        let saved = platform::preserve(job, Arc::clone(&self.seal)).await?;
        Ok(Answer::Saved { archive: saved.archive, sha256: saved.sha256, gaps: saved.gaps })
    }
}

/// Nothing is there, which is not the same as not knowing what is.
fn absent(why: &Why) -> bool {
    why.reason == Reason::Empty || why.word.as_deref() == Some("not-found")
}

/// Moves what the kind calls public, or its handle, out of the secret parts.
fn publish(parts: &mut Parts, described: &BTreeMap<String, Part>) -> Result<(), Why> {
    for (name, part) in described {
        if part.part_type == PartType::Secret {
            continue;
        }
        if let Some(value) = parts.secret.remove(name) {
            let text = std::str::from_utf8(value.expose()).map_err(|_| Reason::Unreadable)?;
            parts.public.insert(name.clone(), Value::String(text.to_owned()));
        }
    }
    Ok(())
}

/// The bytes of one part as they stand in a place, secret or public.
fn part(parts: &Parts, name: &str) -> Option<Secret> {
    if let Some(secret) = parts.secret.get(name) {
        return Some(secret.duplicate());
    }
    match parts.public.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(Secret::from(text.clone())),
        other => Some(Secret::from(other.to_string())),
    }
}
