//! One call made: the only entry to providers, stores and platforms. It always answers.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;

use crate::child::{self, Environment};
use crate::engine::call::{
    Answer, Call, CallId, Delivery, Fault, Holding, Liveness, NotPlaced, PlaceState, Placed,
    Reason, Request, RoleIndex, Task, Values, Verb, Wall, Why,
};
use crate::engine::capability::{Part, PartType};
use crate::engine::plan::Plan;
use crate::engine::report::Unlisted;
use crate::engine::search::Scanned;
use crate::inventory::SecretRef;
use crate::platform::{self, Reloads};
use crate::provider::catalog::Resolved;
use crate::provider::{Acting, Provider, Reply, Secrets};
use crate::seal::{Keys, Seal};
use crate::secret::{FingerprintKey, Parts, Secret};
use crate::store::{self, Edit, Identify, SecretStore, Sought, Stores};
use crate::vault::Vault;

mod edits;

/// A local file is read in milliseconds; a place that takes longer hangs on a dead network mount,
/// and a kill that waits for it is late.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// A delivery waits for the disk twice per file. Half a minute is far beyond a loaded disk and
/// still within a responder's patience.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Looking through a role's files. It stands beside everything else and delays nothing; what takes
/// longer hangs on a dead network mount.
const SCAN_LIMIT: Duration = Duration::from_secs(30);

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

    /// The clock on the wall.
    fn wall(&self) -> Wall {
        wall()
    }

    /// Runs what blocks, the journal's writes, without holding up the calls under way. Jobs of one
    /// run come one after another.
    fn beside(&self, job: Job) {
        drop(tokio::task::spawn_blocking(job));
    }
}

/// Something that blocks. One that is dropped instead of run is a disk that was lost.
pub type Job = Box<dyn FnOnce() + Send>;

/// This instant, for reports and journals.
pub fn wall() -> Wall {
    Wall(jiff::Timestamp::now().as_millisecond())
}

/// Finds a provider by its id in the run.
type Lookup = Arc<dyn Fn(&str) -> Option<Arc<dyn Provider>> + Send + Sync>;

/// Whether commands of the inventory (`stop`, `reload`) are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commands {
    /// They are, and inherit this: nothing that the inventory reads a secret from
    /// ([`crate::inventory::Inventory::variables`]).
    Allowed(Environment),
    /// Somebody else may have written the inventory.
    Untrusted,
    /// The agent's disk is looked at from another host: they would act on the wrong one.
    Elsewhere,
}

/// Where evidence goes.
struct Evidence {
    /// The folder of the sealed archives; none where what opens them could not be kept either.
    dir: Option<PathBuf>,
    /// The run's id, as it stands in the archive's name.
    run: String,
    /// Names of the plan's roles, by [`RoleIndex`].
    roles: Vec<String>,
    /// Where absolute globs begin, if not at `/`.
    root: Option<PathBuf>,
}

/// The world as it is.
pub struct LiveWorld {
    providers: Lookup,
    stores: Stores,
    fingerprints: FingerprintKey,
    identify: Identify,
    seal: Arc<Seal>,
    evidence: Evidence,
    commands: Commands,
    /// Places that stand under `[admin]`: the responder's own, and no part of the agent's disk.
    own: BTreeSet<String>,
    /// Commands that make a place's user read it again.
    reloads: Reloads,
}

impl Commands {
    fn environment(&self) -> Environment {
        match self {
            Self::Allowed(environment) => environment.clone(),
            Self::Untrusted | Self::Elsewhere => Environment::default(),
        }
    }
}

impl LiveWorld {
    /// The world of one plan. `commands` is for whoever read the inventory to say: it names
    /// commands, and who can write it can have them run ([`crate::trust`]).
    pub fn new(
        plan: &Plan,
        providers: Resolved,
        stores: Stores,
        keys: Keys,
        commands: Commands,
    ) -> Self {
        Self {
            identify: Arc::new(providers.identify()),
            providers: Arc::new(move |id| providers.provider(id)),
            stores,
            fingerprints: keys.fingerprints,
            seal: keys.seal,
            evidence: Evidence {
                dir: keys.evidence,
                run: plan.run.clone(),
                roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
                root: None,
            },
            own: own_places(plan),
            reloads: Reloads::new(commands.environment()),
            commands,
        }
    }

    /// Takes a store for a scheme, beside those it was made with.
    #[must_use]
    pub fn with_store(mut self, scheme: &str, store: Arc<dyn SecretStore>) -> Self {
        self.stores = self.stores.with(scheme, store);
        self
    }

    /// Evidence is looked for under `root`, as places are that [`Stores::new`] was given the same:
    /// the disk of a suspect host, looked at from a clean one.
    #[must_use]
    pub fn under(mut self, root: Option<PathBuf>) -> Self {
        self.evidence.root = root;
        self
    }
}

#[async_trait]
impl World for LiveWorld {
    async fn make(&self, _id: CallId, call: &Call, vault: &Vault) -> Made {
        // A driver that panics costs its own call, never the run.
        let made = AssertUnwindSafe(self.dispatch(call, vault)).catch_unwind().await;
        made.unwrap_or_else(|_| lost(&call.task, Reason::Unexpected).into())
    }
}

fn own_places(plan: &Plan) -> BTreeSet<String> {
    let own = plan.actors.iter().filter(|actor| actor.id.starts_with("admin."));
    own.flat_map(|actor| actor.places.values()).map(ToString::to_string).collect()
}

/// The answer to a call of which nobody knows whether it happened.
pub(crate) fn lost(task: &Task, reason: Reason) -> Answer {
    match task {
        Task::Ask(request) if request.at.verb == Verb::Probe => {
            Answer::Saw(Liveness::Unclear(reason.into()), Values::new())
        }
        _ => Answer::Fault(Fault::Unknown(reason.into())),
    }
}

impl LiveWorld {
    async fn dispatch(&self, Call { subject, task, .. }: &Call, vault: &Vault) -> Made {
        let done = match task {
            Task::Read { provider, kind, parts } => {
                let acts = subject.is_none();
                self.read(provider, kind, parts, acts).await.map_err(Fault::Refused)
            }
            Task::Generate { provider, kind } => {
                self.generate(provider, kind).map_err(Fault::Refused)
            }
            Task::Ask(request) => self.ask(task, request, vault).await.map_err(Fault::Refused),
            Task::Deliver(delivery) => self.deliver(delivery, vault).await.map(Made::from),
            Task::Stop { argv, .. } => self.stop(argv).await.map(Made::from),
            Task::Preserve { role, globs } => self.preserve(*role, globs).await.map(Made::from),
            Task::Scan { files, home, named, .. } => {
                let (files, home, named) = (files.clone(), home.clone(), named.clone());
                self.scan(Sought { files, home, named }, vault).await.map(Made::from)
            }
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
        acts: bool,
    ) -> Result<Made, Why> {
        let provider = self.provider(provider)?;
        let described = provider.capability().kinds.get(kind).map(|kind| &kind.parts);
        let mut parts = Parts::default();
        for (name, place) in places {
            let read = async {
                match acts && self.own.contains(&place.to_string()) {
                    true => self.stores.read_here(place).await,
                    false => self.stores.read(place).await,
                }
            };
            let read = tokio::time::timeout(READ_LIMIT, read).await;
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
        let mut sets = self.edits(delivery, vault).await.map_err(Fault::Refused)?;
        if delivery.whole {
            sets = vec![sets.into_iter().flatten().collect()];
        }
        let names = |set: &Vec<Edit>| set.iter().map(|edit| edit.to.to_string()).collect();
        let places: Vec<Vec<String>> = sets.iter().map(names).collect();
        let written = self.stores.deliver_each(sets, WRITE_LIMIT).await;
        let mut placed = Vec::new();
        let mut left = Vec::new();
        for (to, written) in places.into_iter().zip(written) {
            match written {
                Ok(states) => {
                    let both = to.into_iter().zip(states);
                    placed.extend(both.map(|(to, state)| Placed { to, state }));
                }
                Err(fault) => left.push((to, fault)),
            }
        }
        if let ([], [(_, fault)]) = (placed.as_slice(), left.as_slice()) {
            return Err(fault.clone());
        }
        if !placed.is_empty()
            && let Some(reached) = self.reload(delivery).await
        {
            placed.iter_mut().for_each(|place| place.state = reached);
        }
        if left.is_empty() {
            return Ok(Answer::Placed(placed));
        }
        let left = left.into_iter().map(|(to, fault)| not_placed(to, fault)).collect();
        Ok(Answer::PlacedInPart { placed, left })
    }

    /// How far the user of the places came; none where it went no further than the writing.
    async fn reload(&self, delivery: &Delivery) -> Option<PlaceState> {
        if delivery.read_on_use {
            return Some(PlaceState::InUse);
        }
        if delivery.reload.is_empty() || !matches!(self.commands, Commands::Allowed(_)) {
            return None;
        }
        match self.reloads.run(&delivery.reload).await {
            Ok(()) => Some(PlaceState::Reloaded),
            Err(_) => None,
        }
    }

    async fn stop(&self, argv: &[String]) -> Result<Answer, Fault> {
        match &self.commands {
            Commands::Allowed(environment) => {
                child::run(argv, environment, platform::STOP_LIMIT).await.map(|()| Answer::Done)
            }
            Commands::Untrusted => Err(Fault::Refused(Reason::Untrusted.into())),
            Commands::Elsewhere => Err(Fault::Refused(Reason::Unsupported.into())),
        }
    }

    async fn scan(&self, sought: Sought, vault: &Vault) -> Result<Answer, Fault> {
        let (root, identify) = (self.evidence.root.clone(), Arc::clone(&self.identify));
        let scanned = search(sought, root, identify, &self.fingerprints, vault).await;
        scanned.map(|(scanned, _)| Answer::Scanned(scanned)).map_err(Fault::Refused)
    }

    async fn preserve(&self, role: RoleIndex, globs: &[String]) -> Result<Answer, Fault> {
        let Some(dir) = self.evidence.dir.clone() else {
            return Err(Fault::Refused(Reason::Unwritable.into()));
        };
        let index = usize::try_from(role.0).unwrap_or(usize::MAX);
        let name = self.evidence.roles.get(index).cloned().unwrap_or_else(|| role.0.to_string());
        let job = platform::Preservation {
            globs: globs.to_vec(),
            root: self.evidence.root.clone(),
            dir,
            name: format!("evidence-{}-{name}", self.evidence.run),
        };
        let saved = platform::preserve(job, Arc::clone(&self.seal)).await?;
        Ok(Answer::Saved { archive: saved.archive, sha256: saved.sha256, gaps: saved.gaps })
    }
}

/// Looks through files for what no entry names. No value leaves: only its fingerprint, which is
/// the one it would have as a credential of that kind.
///
/// # Errors
/// [`Reason::Timeout`] where a disk hangs.
pub(crate) async fn search(
    sought: Sought,
    root: Option<PathBuf>,
    identify: Identify,
    fingerprints: &FingerprintKey,
    vault: &Vault,
) -> Result<(Scanned, BTreeSet<String>), Why> {
    let scan = tokio::time::timeout(SCAN_LIMIT, store::scan(sought, root, identify)).await;
    let seen = scan.unwrap_or_else(|_| Err(Reason::Timeout.into()))?;
    let unlisted = seen.found.into_iter().filter(|found| !vault.holds(&found.value)).map(|found| {
        let (provider, kind) = match found.kinds.as_slice() {
            [(provider, kind)] => (Some(provider.clone()), Some(kind.clone())),
            _ => (None, None),
        };
        let secret = [("secret".to_owned(), found.value)].into();
        let fingerprint = fingerprints.of(&Parts { secret, ..Parts::default() });
        Unlisted { place: found.place, provider, kind, fingerprint }
    });
    let unlisted = unlisted.collect();
    let scanned = Scanned { unlisted, other_keys: seen.other_keys, gaps: seen.gaps };
    Ok((scanned, seen.crowded))
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

fn not_placed(to: Vec<String>, fault: Fault) -> NotPlaced {
    let (why, unknown) = match fault {
        Fault::Unknown(why) => (why, true),
        Fault::Refused(why) | Fault::NotSent(why) => (why, false),
        Fault::Throttled(_) => (Reason::Timeout.into(), true),
    };
    NotPlaced { to, why, unknown }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::engine::call::{At, Identity, Party, SecretId};
    use crate::engine::capability::{Class, KindCapability, ProviderCapability};

    /// One kind: `secret`, an optional `access`, a public `sid`; and answers chosen by the verb.
    struct Acme(ProviderCapability);

    impl Acme {
        fn new() -> Self {
            let part = |part_type, optional| Part { part_type, optional };
            let kind = KindCapability {
                parts: [
                    ("access".into(), part(PartType::Secret, true)),
                    ("secret".into(), part(PartType::Secret, false)),
                    ("sid".into(), part(PartType::Public, false)),
                ]
                .into(),
                generates: true,
                ..KindCapability::new(Class::ApiKey)
            };
            Self(ProviderCapability {
                kinds: [("api-key".to_owned(), kind)].into(),
                ..ProviderCapability::new("acme", "Acme")
            })
        }
    }

    #[async_trait]
    impl Provider for Acme {
        fn capability(&self) -> &ProviderCapability {
            &self.0
        }

        async fn call(&self, at: &At, values: &Values, secrets: &Secrets) -> Reply {
            if values.contains_key("panic") {
                panic!("a driver that was never tested");
            }
            if values.contains_key("hang") {
                std::future::pending::<()>().await;
            }
            match at.verb {
                Verb::Issue => Reply {
                    answer: Answer::Issued(Holding::default()),
                    brought: Some(Parts {
                        public: [("sid".to_owned(), json!("s2"))].into(),
                        secret: [("secret".to_owned(), Secret::from("new".to_owned()))].into(),
                    }),
                },
                _ => {
                    let it = &secrets["it"];
                    let seen = String::from_utf8(it.parts.secret["secret"].expose().to_vec());
                    let seen = Identity(seen.unwrap() + it.parts.public["sid"].as_str().unwrap());
                    Answer::Saw(Liveness::Alive(seen), Values::new()).into()
                }
            }
        }

        fn split(&self, _kind: &str, parts: &mut Parts) {
            parts.public.insert("split".into(), json!(true));
        }

        fn made_up(&self, _kind: &str, parts: &Parts) -> Parts {
            let mut made_up = parts.duplicate();
            made_up.secret.insert("secret".into(), Secret::from("made-up".to_owned()));
            made_up
        }

        fn generate(&self, _kind: &str) -> Option<Secret> {
            Some(Secret::from("generated".to_owned()))
        }
    }

    struct Host {
        disk: TempDir,
        world: LiveWorld,
        vault: Vault,
    }

    impl Host {
        fn new(commands: Commands) -> Self {
            let disk = tempfile::tempdir().unwrap();
            let acme: Arc<dyn Provider> = Arc::new(Acme::new());
            let world = LiveWorld {
                providers: Arc::new(move |id| (id == "acme").then(|| Arc::clone(&acme))),
                stores: Stores::new(None, Arc::new(|_| Vec::new())),
                fingerprints: FingerprintKey::new(Secret::new(vec![7; 32])),
                identify: Arc::new(|_| Vec::new()),
                seal: Arc::new(Seal::new(&Seal::make_key(), &[]).unwrap()),
                evidence: Evidence {
                    dir: Some(disk.path().join("state")),
                    run: "r1".into(),
                    roles: vec!["mail-agent".into()],
                    root: None,
                },
                commands,
                own: BTreeSet::new(),
                reloads: Reloads::default(),
            };
            Self { disk, world, vault: Vault::new() }
        }

        fn write(&self, content: &str) {
            fs::write(self.disk.path().join(".env"), content).unwrap();
        }

        fn text(&self) -> String {
            fs::read_to_string(self.disk.path().join(".env")).unwrap()
        }

        fn place(&self, key: &str) -> SecretRef {
            SecretRef {
                scheme: "dotenv".into(),
                path: self.disk.path().canonicalize().unwrap().join(".env").display().to_string(),
                fragment: Some(key.into()),
                part: None,
            }
        }

        fn places(&self) -> BTreeMap<String, SecretRef> {
            ["access", "secret", "sid"]
                .map(|part| (part.to_owned(), self.place(&part.to_uppercase())))
                .into()
        }

        fn hold(&self, id: u64, secret: &[(&str, &str)]) {
            let secret = secret.iter().map(|(k, v)| ((*k).into(), Secret::from((*v).to_owned())));
            let parts = Parts { public: Values::new(), secret: secret.collect() };
            self.vault.insert(SecretId(id), parts);
        }

        async fn make(&self, task: Task) -> Made {
            let (segment, account) = ("local".to_owned(), "acme".to_owned());
            let call = Call { subject: None, segment, account, task };
            self.world.make(CallId(1), &call, &self.vault).await
        }

        async fn read(&self) -> Made {
            let (provider, kind) = ("acme".to_owned(), "api-key".to_owned());
            self.make(Task::Read { provider, kind, parts: self.places() }).await
        }
    }

    fn allowed() -> Commands {
        Commands::Allowed(Environment::default())
    }

    fn party(id: u64, sid: &str) -> Party {
        Party {
            provider: "acme".into(),
            kind: "api-key".into(),
            vars: Values::new(),
            public: [("sid".to_owned(), json!(sid))].into(),
            secrets: vec![SecretId(id)],
            made_up: false,
        }
    }

    fn ask(verb: Verb, party: Party, trouble: Option<&str>) -> Task {
        let (provider, kind) = ("acme".to_owned(), "api-key".to_owned());
        Task::Ask(Request {
            at: At { provider, kind, verb, way: 0, step: 0 },
            parties: [("it".to_owned(), party)].into(),
            values: trouble.iter().map(|name| ((*name).to_owned(), json!(true))).collect(),
            deadline_ms: 50,
        })
    }

    fn fault(made: Made) -> Fault {
        match made.answer {
            Answer::Fault(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn reading_splits_public_parts_from_secret_ones() {
        let host = Host::new(allowed());
        host.write("SECRET=one\nSID=s1\n");
        let made = host.read().await;
        let Answer::Held(held) = made.answer else { panic!("{:?}", made.answer) };
        assert_eq!(
            held.public,
            [("sid".into(), json!("s1")), ("split".into(), json!(true))].into()
        );
        let brought = made.brought.unwrap();
        assert_eq!(brought.secret.keys().collect::<Vec<_>>(), ["secret"]);
        assert_eq!(held.fingerprint, host.world.fingerprints.of(&brought));
        host.write("SECRET=two\nSID=s1\nACCESS=a\n");
        let made = host.read().await;
        let Answer::Held(other) = made.answer else { panic!("{:?}", made.answer) };
        assert_ne!(other.fingerprint, held.fingerprint);
        assert!(made.brought.unwrap().secret.contains_key("access"));
    }

    #[tokio::test]
    async fn a_part_that_must_be_there_and_is_not_is_a_fault() {
        let host = Host::new(allowed());
        host.write("SID=s1\nACCESS=a\n");
        let Fault::Refused(why) = fault(host.read().await) else { panic!("not refused") };
        assert_eq!(why.reason, Reason::Empty);
        fs::remove_file(host.disk.path().join(".env")).unwrap();
        let Fault::Refused(why) = fault(host.read().await) else { panic!("not refused") };
        assert_eq!((why.reason, why.word.as_deref()), (Reason::Unreadable, Some("not-found")));
    }

    #[tokio::test]
    async fn generated_and_issued_bytes_come_back_with_their_fingerprint() {
        let host = Host::new(allowed());
        let (provider, kind) = ("acme".to_owned(), "api-key".to_owned());
        let made = host.make(Task::Generate { provider, kind }).await;
        let Answer::Held(held) = made.answer else { panic!("{:?}", made.answer) };
        let brought = made.brought.unwrap();
        assert_eq!(brought.secret["secret"].expose(), b"generated");
        assert_eq!(held.fingerprint, host.world.fingerprints.of(&brought));
        host.hold(1, &[("secret", "old")]);
        let made = host.make(ask(Verb::Issue, party(1, "s1"), None)).await;
        let Answer::Issued(held) = made.answer else { panic!("{:?}", made.answer) };
        assert_eq!(held.public["sid"], json!("s2"));
        assert_eq!(held.fingerprint, host.world.fingerprints.of(&made.brought.unwrap()));
        assert_eq!(held.fingerprint.len(), 24);
    }

    #[tokio::test]
    async fn a_made_up_party_keeps_its_public_parts_and_shows_no_real_secret() {
        let host = Host::new(allowed());
        host.hold(1, &[("secret", "old")]);
        for (made_up, seen) in [(false, "olds1"), (true, "made-ups1")] {
            let task = ask(Verb::Probe, Party { made_up, ..party(1, "s1") }, None);
            let alive = Liveness::Alive(Identity(seen.into()));
            assert_eq!(host.make(task).await.answer, Answer::Saw(alive, Values::new()));
        }
    }

    #[tokio::test]
    async fn a_provider_that_hangs_or_panics_is_answered_for() {
        let host = Host::new(allowed());
        host.hold(1, &[("secret", "old")]);
        for (trouble, reason) in [("hang", Reason::Timeout), ("panic", Reason::Unexpected)] {
            for verb in [Verb::Issue, Verb::Revoke, Verb::Find] {
                let made = host.make(ask(verb, party(1, "s1"), Some(trouble))).await;
                assert_eq!(fault(made), Fault::Unknown(reason.into()));
            }
            let made = host.make(ask(Verb::Probe, party(1, "s1"), Some(trouble))).await;
            let unclear = Liveness::Unclear(reason.into());
            assert_eq!(made.answer, Answer::Saw(unclear, Values::new()));
        }
    }

    #[tokio::test]
    async fn what_is_not_there_to_be_used_is_refused() {
        let host = Host::new(allowed());
        let made = host.make(ask(Verb::Probe, party(9, "s1"), None)).await;
        assert_eq!(fault(made), Fault::Refused(Reason::MissingValue.into()));
        let (provider, kind) = ("nobody".to_owned(), "api-key".to_owned());
        let made = host.make(Task::Generate { provider, kind }).await;
        assert_eq!(fault(made), Fault::Refused(Reason::Unsupported.into()));
    }

    fn delivery(host: &Host, reload: &[&str]) -> Delivery {
        host.write("SECRET=old\nSID=s1\nACCESS=a\n");
        host.hold(1, &[("secret", "old"), ("access", "a")]);
        host.hold(2, &[("secret", "new")]);
        Delivery {
            new: party(2, "s2"),
            old: Some(party(1, "s1")),
            places: vec![host.places()],
            old_fingerprint: None,
            written: BTreeSet::new(),
            whole: false,
            reload: reload.iter().map(|word| (*word).to_owned()).collect(),
            read_on_use: false,
        }
    }

    async fn states(host: &Host, delivery: Delivery) -> Vec<PlaceState> {
        match host.make(Task::Deliver(Box::new(delivery))).await.answer {
            Answer::Placed(placed) => placed.into_iter().map(|one| one.state).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_delivery_says_how_far_each_place_came() {
        for (commands, reload, on_use, reached) in [
            (allowed(), &[][..], false, PlaceState::ReadBack),
            (allowed(), &["true"][..], false, PlaceState::Reloaded),
            (allowed(), &["false"][..], false, PlaceState::ReadBack),
            (Commands::Untrusted, &["true"][..], false, PlaceState::ReadBack),
            (Commands::Elsewhere, &["true"][..], false, PlaceState::ReadBack),
            (allowed(), &[][..], true, PlaceState::InUse),
        ] {
            let host = Host::new(commands.clone());
            let delivery = Delivery { read_on_use: on_use, ..delivery(&host, reload) };
            assert_eq!(states(&host, delivery).await, [reached; 2], "{commands:?} {reload:?}");
            // The new one has no access token, and its kind says that it may have none.
            assert_eq!(host.text(), "SECRET=new\nSID=s2\nACCESS=a\n");
        }
    }

    #[tokio::test]
    async fn a_delivery_that_was_made_before_is_made() {
        let host = Host::new(allowed());
        let delivery = delivery(&host, &[]);
        states(&host, delivery.clone()).await;
        assert_eq!(states(&host, delivery).await, [PlaceState::ReadBack; 2]);
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_keeps_it_from_no_other() {
        let host = Host::new(allowed());
        let one = delivery(&host, &[]);
        let gone = SecretRef { path: "/nowhere/at/all".to_owned(), ..host.place("SECRET") };
        let second: BTreeMap<String, SecretRef> = [("secret".to_owned(), gone.clone())].into();
        for places in [vec![host.places(), second.clone()], vec![second.clone(), host.places()]] {
            let apart = Delivery { places, ..one.clone() };
            let whole = Delivery { whole: true, ..apart.clone() };
            let fault = fault(host.make(Task::Deliver(Box::new(whole))).await);
            assert!(matches!(fault, Fault::Refused(why) if why.reason == Reason::Unwritable));
            assert_eq!(host.text(), "SECRET=old\nSID=s1\nACCESS=a\n");
            let made = host.make(Task::Deliver(Box::new(apart))).await;
            let Answer::PlacedInPart { placed, left } = made.answer else { panic!() };
            let reached: Vec<_> = placed.iter().map(|place| place.state).collect();
            assert_eq!(reached, [PlaceState::ReadBack; 2]);
            let [NotPlaced { to, why, unknown: false }] = left.as_slice() else { panic!() };
            assert_eq!((to, why.reason), (&vec![gone.to_string()], Reason::Unwritable));
            assert_eq!(host.text(), "SECRET=new\nSID=s2\nACCESS=a\n");
            delivery(&host, &[]);
        }
    }

    #[tokio::test]
    async fn what_was_written_before_is_left_to_whoever_changed_it_since() {
        let host = Host::new(allowed());
        let one = Delivery { old: None, ..delivery(&host, &[]) };
        let written = host.places().values().map(ToString::to_string).collect();
        let again = Delivery { written, ..one.clone() };
        host.write("SECRET=theirs\nSID=s2\nACCESS=a\n");
        let refused = fault(host.make(Task::Deliver(Box::new(again.clone()))).await);
        assert_eq!(refused, Fault::Refused(Reason::PlaceChanged.into()));
        host.write("SECRET=new\nSID=s2\nACCESS=a\n");
        assert_eq!(states(&host, again).await, [PlaceState::ReadBack; 2]);
        host.write("SECRET=theirs\nSID=s2\nACCESS=a\n");
        assert_eq!(states(&host, one).await, [PlaceState::ReadBack; 2], "nothing is known of it");
    }

    /// Of an old one that was dead its bytes are forgotten: its fingerprint still tells it.
    #[tokio::test]
    async fn without_the_bytes_of_the_old_one_a_place_is_known_by_its_fingerprint() {
        let host = Host::new(allowed());
        let one = delivery(&host, &[]);
        let Answer::Held(held) = host.read().await.answer else { panic!("not read") };
        let one = Delivery { old: None, old_fingerprint: Some(held.fingerprint), ..one };
        host.write("SECRET=theirs\nSID=s1\nACCESS=a\n");
        let refused = fault(host.make(Task::Deliver(Box::new(one.clone()))).await);
        assert_eq!(refused, Fault::Refused(Reason::PlaceChanged.into()));
        for ours in ["SECRET=old\nSID=s1\nACCESS=a\n", "SECRET=new\nSID=s2\nACCESS=a\n", ""] {
            host.write(ours);
            assert_eq!(states(&host, one.clone()).await, [PlaceState::ReadBack; 2], "{ours}");
        }
    }

    #[tokio::test]
    async fn somebody_elses_work_and_a_missing_part_leave_everything_as_it_is() {
        let host = Host::new(allowed());
        let delivery = delivery(&host, &["true"]);
        let others = "SECRET=old\nSID=other\nACCESS=a\n";
        host.write(others);
        let made = host.make(Task::Deliver(Box::new(delivery.clone()))).await;
        assert_eq!(fault(made), Fault::Refused(Reason::PlaceChanged.into()));
        assert_eq!(host.text(), others);
        host.hold(2, &[("access", "b")]);
        let made = host.make(Task::Deliver(Box::new(delivery))).await;
        assert_eq!(fault(made), Fault::Refused(Reason::MissingValue.into()));
        assert_eq!(host.text(), others);
    }

    #[tokio::test]
    async fn an_agent_is_stopped_only_by_a_trusted_command_on_its_own_host() {
        let stop = |word: &str| Task::Stop { role: RoleIndex(0), argv: vec![word.to_owned()] };
        let host = Host::new(allowed());
        assert_eq!(host.make(stop("true")).await.answer, Answer::Done);
        let Fault::Refused(why) = fault(host.make(stop("false")).await) else { panic!() };
        assert_eq!(why.reason, Reason::CommandFailed);
        for (commands, reason) in
            [(Commands::Untrusted, Reason::Untrusted), (Commands::Elsewhere, Reason::Unsupported)]
        {
            let made = Host::new(commands).make(stop("true")).await;
            assert_eq!(fault(made), Fault::Refused(reason.into()));
        }
    }

    #[tokio::test]
    async fn evidence_is_named_for_its_run_and_role() {
        let host = Host::new(Commands::Untrusted);
        host.write("A=1\n");
        for (role, name) in [(0, "evidence-r1-mail-agent.tar.age"), (7, "evidence-r1-7.tar.age")] {
            let globs = vec![format!("{}/.e*", host.disk.path().display())];
            let made = host.make(Task::Preserve { role: RoleIndex(role), globs }).await;
            let Answer::Saved { archive, sha256, gaps } = made.answer else { panic!() };
            assert!(archive.ends_with(name), "{archive}");
            assert_eq!((sha256.len(), gaps.len()), (64, 0));
        }
    }
}
