//! What a provider can do, as the planner needs to know it. Built by the catalog from provider
//! files; pure data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::Verb;

mod blast;

pub use blast::{Blast, Radius};

/// Every provider known to this run, by id (built-in, from a folder, or at another address).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// By provider id.
    pub providers: BTreeMap<String, ProviderCapability>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderCapability {
    /// Its id in this run.
    pub id: String,
    /// The file it was made from: its own id, or that of the file at another address.
    pub file: String,
    /// Its name for people.
    pub name: String,
    /// SHA-256 of the provider file, hexadecimal.
    pub sha256: String,
    /// Every host a secret can reach.
    pub hosts: Vec<String>,
    /// The hosts come from the inventory, not from the vendor's file.
    pub hosts_from_inventory: bool,
    /// The file needs a base from the inventory, and there is none.
    pub base_missing: bool,
    /// Values the inventory must give.
    pub vars: BTreeMap<String, Var>,
    /// How much it bears.
    pub limits: Limits,
    /// Kinds of credential.
    pub kinds: BTreeMap<String, KindCapability>,
}

/// A value the inventory must give.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Var {
    /// Anchored regex.
    pub like: Option<String>,
    /// Closed list.
    pub one_of: Vec<String>,
    /// Taken when the inventory gives none.
    pub default: Option<serde_json::Value>,
    /// May be absent.
    pub optional: bool,
    /// Where a person finds it.
    pub say: Option<String>,
    /// Kinds whose authentication or calls name it; empty where that is not known.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// At most `count` in any window of `per_ms` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many; 0 forbids.
    pub count: u32,
    /// The window, milliseconds.
    pub per_ms: u64,
}

/// How much a provider bears. `in_flight` and `calls` count per base and acting credential,
/// `revoke` and `refused` per address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Calls under way at once.
    pub in_flight: u32,
    /// All calls.
    pub calls: Option<Rate>,
    /// Revocations.
    pub revoke: Option<Rate>,
    /// Probes that we expect to be refused.
    pub refused: Option<Rate>,
    /// Requests that end many credentials at once; counted per address, and not as `revoke`.
    #[serde(default)]
    pub batch: Option<BatchLimit>,
}

/// Calls of one credential until a new one has taken its place: read, list, revoke, evict, issue,
/// prove.
const CALLS: u64 = 6;

impl Limits {
    /// How long they hold back the last of so many credentials, milliseconds: no sign that a
    /// provider is slow.
    pub(super) fn line_ms(&self, credentials: u64) -> u64 {
        let full_windows = |rate: &Rate, calls: u64| {
            let windows = calls.div_ceil(u64::from(rate.count.max(1))).saturating_sub(1);
            windows.saturating_mul(rate.per_ms)
        };
        let requests = |batch: &BatchLimit| credentials.div_ceil(u64::from(batch.size.max(1)));
        let lines = [
            self.calls.as_ref().map(|rate| full_windows(rate, CALLS.saturating_mul(credentials))),
            self.revoke.as_ref().map(|rate| full_windows(rate, credentials)),
            self.batch.as_ref().map(|batch| full_windows(&batch.rate, requests(batch))),
        ];
        lines.into_iter().flatten().max().unwrap_or(0)
    }
}

/// How many credentials one request may end, and how many such requests there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLimit {
    /// Credentials in one request.
    pub size: u32,
    /// Requests.
    pub rate: Rate,
}

/// The closed list of what a credential can be.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// API key.
    ApiKey,
    /// OAuth grant: refresh and access tokens.
    OauthGrant,
    /// OAuth client.
    OauthClient,
    /// Session cookie.
    SessionCookie,
    /// Cloud access key.
    AccessKey,
    /// Password.
    Password,
    /// SSH key.
    SshKey,
    /// Webhook URL.
    Webhook,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartType {
    /// Never written down.
    Secret,
    /// Public.
    Public,
    /// Public, and the provider's id of the credential.
    Handle,
}

/// One part of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub part_type: PartType,
    /// May be absent.
    pub optional: bool,
}

/// What physics demands of the order of issue and revoke, in contain as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The plan decides.
    Any,
    /// The revocation needs the new one, or the old one mints it.
    IssueFirst,
    /// Revoking kills the new one too.
    RevokeFirst,
    /// One call does both.
    Roll,
}

/// How long something lives by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Milliseconds.
    Ms(u64),
    /// Its own `exp` claim.
    JwtExp,
    /// A value that a verb takes.
    Taken(String),
    /// Until `evict`.
    Open,
    /// Nobody says.
    Unknown,
    /// For ever.
    Forever,
}

/// How a death is proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRule {
    /// Refusals in a row.
    pub refusals: u32,
    /// First and last refusal at least this far apart, milliseconds.
    pub hold_ms: u64,
    /// After the revocation was accepted, how long an accepted old one is `dying`, milliseconds.
    pub give_up_ms: u64,
    /// Probes of the old one that the proof may cost.
    pub probes: u32,
    /// Nothing is known of this provider's flapping; the figures are ours.
    pub assumed: bool,
    /// The figures are the inventory's.
    pub from_inventory: bool,
}

/// Who authenticates a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The one being probed.
    It,
    /// The old one.
    Old,
    /// The new one.
    New,
    /// The admin credential; a name where a kind needs several.
    Admin(Option<String>),
    /// The OAuth client.
    Client,
    /// Nobody.
    None,
    /// The newest of new and old that was last accepted.
    Live,
}

/// How sure a line of a provider file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// From memory.
    Memory,
    /// Reported by others.
    Report,
    /// Read in code.
    Code,
    /// Read in the vendor's documents.
    Doc,
    /// Seen on a real server.
    Run,
}

/// One call of a way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCapability {
    /// Who authenticates it.
    pub actor: Actor,
    /// Every party whose parts or vars stand in its markers, the actor included (`old`, `new`,
    /// `admin`, `admin.NAME`, `client`).
    pub parties: Vec<String>,
    /// Public names it needs beyond vars (`handle`, `label`, taken values, public parts).
    pub needs: Vec<String>,
    /// What it takes.
    pub takes: Vec<String>,
    /// It may be sent again after a lost answer.
    pub again: bool,
    /// A secret stands in its URL.
    pub secret_in_url: bool,
}

/// One way of doing a verb (of a probe: one layer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Calls, in order.
    pub steps: Vec<StepCapability>,
    /// How sure.
    pub seen: Seen,
    /// Privilege it needs, in the provider's words.
    pub privilege: Option<String>,
    /// What it kills, where that differs from the kind's.
    pub blast: Option<Blast>,
    /// A person must answer before it is done: its call may take an hour, and nothing waits for it.
    #[serde(default)]
    pub person: bool,
    /// Calls of this way that leave at the same instant share one request, as many as
    /// [`Limits::batch`] says: its driver is told which in [`super::batch::Batch`].
    #[serde(default)]
    pub batch: bool,
}

/// What a probe does besides looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing.
    None,
    /// Makes a session or token.
    Mints,
    /// Slides an expiry.
    Extends,
    /// Costs money: needs leave.
    Costs,
    /// Sends something to somebody: never used.
    Sends,
}

/// What a person does where no call can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// The page.
    pub at: String,
    /// What to do there. Both may hold markers.
    #[serde(rename = "do")]
    pub action: String,
}

/// A kind that may stand as admin or client: `kind`, or a kind of another file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindRef {
    /// The file; none for the kind's own.
    pub file: Option<String>,
    /// The kind.
    pub kind: String,
}

/// One kind of credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindCapability {
    /// What it is.
    pub class: Class,
    /// Its parts.
    pub parts: BTreeMap<String, Part>,
    /// We choose the bytes.
    pub generates: bool,
    /// Which kinds may stand as `admin`, by name where a table is asked for, else under "".
    pub admin: BTreeMap<String, Vec<KindRef>>,
    /// Which kinds may stand as `client`.
    pub client: Vec<KindRef>,
    /// What physics demands.
    pub order: Order,
    /// What dies with it.
    pub blast: Blast,
    /// How many may live at once; none for many.
    pub overlap: Option<u32>,
    /// It dies by itself then.
    pub lives: Option<Lifetime>,
    /// What outlives its revocation.
    pub minted: BTreeMap<String, Lifetime>,
    /// How its death is proved.
    pub proof: ProofRule,
    /// Said in the plan before anything is touched.
    pub warn: Vec<String>,
    /// Verbs, best way first. A probe's ways are layers.
    pub verbs: BTreeMap<Verb, Vec<Way>>,
    /// What the probe does besides looking.
    pub effect: Effect,
    /// The probe tells who was accepted.
    pub tells_identity: bool,
    /// Where a person issues.
    pub issue_by_hand: Option<ByHand>,
    /// Where a person revokes.
    pub revoke_by_hand: Option<ByHand>,
    /// The computed level: `full`, `revoke`, `probe-only`, `by-hand`, and its marks.
    pub level: String,
}

impl ProofRule {
    /// Where nothing is known of a provider: three refusals are no accident; 60 s is longer than
    /// most caches flap and is marked as assumed; ten minutes is as long as a person waits; sixty
    /// probes of one credential stay below what providers call abuse.
    pub const ASSUMED: Self = Self {
        refusals: 3,
        hold_ms: 60_000,
        give_up_ms: 600_000,
        probes: 60,
        assumed: true,
        from_inventory: false,
    };
}

impl Actor {
    /// The name by which it takes part in a call.
    pub(crate) fn party(&self) -> Option<String> {
        match self {
            Self::It => Some("it".into()),
            Self::Old => Some("old".into()),
            Self::New => Some("new".into()),
            Self::Live => Some("live".into()),
            Self::Client => Some("client".into()),
            Self::Admin(None) => Some("admin".into()),
            Self::Admin(Some(name)) => Some(format!("admin.{name}")),
            Self::None => None,
        }
    }
}

impl StepCapability {
    /// A call that this actor authenticates, in which nobody else takes part; sent once.
    pub fn new(actor: Actor) -> Self {
        let party = actor.party();
        Self {
            actor,
            parties: party.into_iter().collect(),
            needs: Vec::new(),
            takes: Vec::new(),
            again: false,
            secret_in_url: false,
        }
    }
}

impl Way {
    /// These calls, in order, for as sure as `seen` says.
    pub fn new(steps: Vec<StepCapability>, seen: Seen) -> Self {
        Self { steps, seen, privilege: None, blast: None, person: false, batch: false }
    }

    /// Whether one of its calls names what it is about by the provider's id.
    pub(super) fn needs_handle(&self) -> bool {
        self.steps.iter().any(|step| step.needs.iter().any(|name| name == "handle"))
    }
}

impl ProviderCapability {
    /// A provider that can do nothing yet: no kinds, no vars, no hosts, four calls at once. For
    /// a caller's own [`crate::provider::Provider`], which fills in the rest.
    pub fn new(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            file: id.to_owned(),
            name: name.to_owned(),
            sha256: String::new(),
            hosts: Vec::new(),
            hosts_from_inventory: false,
            base_missing: false,
            vars: BTreeMap::new(),
            // What a provider file allows that says nothing.
            limits: Limits { in_flight: 4, calls: None, revoke: None, refused: None, batch: None },
            kinds: BTreeMap::new(),
        }
    }
}

impl KindCapability {
    /// A kind with one secret part, `secret`, and no verbs: nothing can be done to it but by hand.
    /// Its death is proved as [`ProofRule::ASSUMED`] says.
    pub fn new(class: Class) -> Self {
        let secret = Part { part_type: PartType::Secret, optional: false };
        Self {
            class,
            parts: [("secret".to_owned(), secret)].into(),
            generates: false,
            admin: BTreeMap::new(),
            client: Vec::new(),
            order: Order::Any,
            blast: Blast { kills: Radius::Token, key: Vec::new() },
            overlap: None,
            lives: None,
            minted: BTreeMap::new(),
            proof: ProofRule::ASSUMED,
            warn: Vec::new(),
            verbs: BTreeMap::new(),
            effect: Effect::None,
            tells_identity: false,
            issue_by_hand: None,
            revoke_by_hand: None,
            level: "by-hand".to_owned(),
        }
    }

    /// The ways of a verb, best first; empty where the kind has none.
    pub fn ways(&self, verb: Verb) -> &[Way] {
        self.verbs.get(&verb).map_or(&[], Vec::as_slice)
    }

    /// The first layer of the probe, where it may be used: what it costs needs leave, and what it
    /// sends goes to somebody.
    pub(crate) fn probe(&self) -> Option<&Way> {
        match self.effect {
            Effect::None | Effect::Mints | Effect::Extends => self.ways(Verb::Probe).first(),
            Effect::Costs | Effect::Sends => None,
        }
    }

    /// The part that is the provider's id of the credential.
    pub(super) fn handle_part(&self) -> Option<&str> {
        let mut parts = self.parts.iter();
        let found = parts.find(|(_, part)| part.part_type == PartType::Handle);
        found.map(|(name, _)| name.as_str())
    }

    /// No verb can revoke it, and it ends by itself.
    pub fn only_expires(&self) -> bool {
        let ends =
            matches!(self.lives, Some(Lifetime::Ms(_) | Lifetime::JwtExp | Lifetime::Taken(_)));
        ends && self.ways(Verb::Revoke).is_empty() && self.ways(Verb::Roll).is_empty()
    }
}
