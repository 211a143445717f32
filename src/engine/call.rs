//! What crosses the wall of the engine: calls out, events in. No secret is in any of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::search::Scanned;
use crate::inventory::SecretRef;

mod delivery;

pub use delivery::{Delivery, NotPlaced, PlaceState, Placed};

/// Public values by name: vars, public parts, handles, labels, what a step took.
pub type Values = BTreeMap<String, Value>;

/// The number of a call in its run. Replay numbers alike.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CallId(pub u64);

/// Names secret bytes by the call that brought them. Ids from [`SecretId::ADOPTED`] on were
/// brought by an earlier run and handed to this one with its plan.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SecretId(pub u64);

impl SecretId {
    /// The first id of secrets that an earlier run brought. Far above any count of calls, and
    /// below 2^53 so that JSON keeps it exact.
    pub const ADOPTED: u64 = 1 << 48;
}

impl From<CallId> for SecretId {
    fn from(call: CallId) -> Self {
        Self(call.0)
    }
}

/// Milliseconds of run time: monotonic, and going on from the last event after a resume.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// `self` plus `ms` milliseconds.
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, zero if that is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since the Unix epoch, UTC. For the report only: nothing is decided by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Wall(pub i64);

/// Index of a credential in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject(pub u32);

/// Index of a role in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoleIndex(pub u32);

/// The verbs of a provider file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Exchanges a credential for a short token; made by the provider itself when it needs one.
    Login,
    /// Read-only facts, once per run.
    Learn,
    /// Uses a credential to see whether it lives.
    Probe,
    /// Lists what exists.
    Find,
    /// Makes a new credential.
    Issue,
    /// One call: the old one out, the new one in.
    Roll,
    /// Ends the grace of a roll.
    Finish,
    /// Ends the old one.
    Revoke,
    /// Ends what was minted from the old one.
    Evict,
    /// A person consents; the endpoints are data.
    Consent,
}

/// Where in a provider file a call stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct At {
    /// The provider's id in the catalog.
    pub provider: String,
    /// The kind's name in that file.
    pub kind: String,
    /// The verb.
    pub verb: Verb,
    /// Which way (or, of a probe, which layer), from 0.
    pub way: u16,
    /// Which step of that way, from 0.
    pub step: u16,
}

/// One credential taking part in a call, by name; the bytes stay with the driver of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// The provider that this credential belongs to (an admin may come from another file).
    pub provider: String,
    /// Its kind there: decides how it authenticates.
    pub kind: String,
    /// Its vars, from the inventory.
    pub vars: Values,
    /// Its public parts, and `handle` where known.
    pub public: Values,
    /// The calls that brought its bytes, oldest first; later ones win part by part.
    pub secrets: Vec<SecretId>,
    /// Every secret part is to be replaced by a made-up one of its shape (the negative control).
    pub made_up: bool,
}

/// One request to a provider.
///
/// `parties` may hold `it` (the one being probed), `old`, `new`, `admin`, `admin.NAME`, `client`.
/// `values` hold the role credential's vars and what the verb's subject has: public parts,
/// `handle`, `label`, `scopes`, `who`, `ttl` (milliseconds), `grace` (milliseconds), taken values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Where it stands in the provider file.
    pub at: At,
    /// Who takes part.
    pub parties: BTreeMap<String, Party>,
    /// Public values for markers.
    pub values: Values,
    /// How long the answer may take, in milliseconds.
    pub deadline_ms: u64,
}

/// One thing to be done in the world, made only because of a written event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The credential it is about; none for a call about a role.
    pub subject: Option<Subject>,
    /// Network segment that can make it; `local` by default.
    pub segment: String,
    /// Provider and acting credential: what limits are counted by.
    pub account: String,
    /// What to do.
    pub task: Task,
}

/// What a [`Call`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Read the parts of a credential from its places.
    Read {
        /// Provider and kind: named groups of the kind's shape become parts.
        provider: String,
        /// The kind.
        kind: String,
        /// Part by part.
        parts: BTreeMap<String, SecretRef>,
    },
    /// Choose the bytes of a new credential.
    Generate {
        /// The provider.
        provider: String,
        /// The kind whose `generate` rules.
        kind: String,
    },
    /// Ask a provider: learn, probe, find, issue, roll, finish, revoke or evict.
    Ask(Request),
    /// Write the new one to its places, read it back, reload.
    Deliver(Box<Delivery>),
    /// End the agent of a role.
    Stop {
        /// The role.
        role: RoleIndex,
        /// The command, argument by argument.
        argv: Vec<String>,
    },
    /// Save the evidence of a role.
    Preserve {
        /// The role.
        role: RoleIndex,
        /// File globs.
        globs: Vec<String>,
    },
    /// Look through the files of a role for what no entry names.
    Scan {
        /// The role.
        role: RoleIndex,
        /// Files that its credentials live in.
        files: Vec<String>,
        /// The folder of its platform.
        home: Option<String>,
        /// Places that entries name.
        named: Vec<SecretRef>,
    },
}

impl Call {
    /// Whether it could *make* something that a lost record would orphan.
    pub fn makes(&self) -> bool {
        match &self.task {
            Task::Generate { .. } | Task::Deliver(_) => true,
            Task::Ask(request) => matches!(request.at.verb, Verb::Issue | Verb::Roll),
            Task::Read { .. } | Task::Stop { .. } | Task::Preserve { .. } | Task::Scan { .. } => {
                false
            }
        }
    }

    /// Whether a person must answer before it is done.
    pub fn asks_a_person(&self) -> bool {
        matches!(&self.task, Task::Ask(request) if request.deadline_ms >= Self::PERSON_MS)
    }

    /// How long a person is waited for, milliseconds: who has not answered within the hour is not
    /// at the keyboard.
    pub const PERSON_MS: u64 = 3_600_000;

    /// Whether it changes nothing, so that it may be asked again after a crash.
    pub fn harmless(&self) -> bool {
        match &self.task {
            Task::Read { .. } | Task::Scan { .. } => true,
            Task::Ask(request) => {
                matches!(request.at.verb, Verb::Learn | Verb::Probe | Verb::Find)
            }
            _ => false,
        }
    }
}

/// What happened, with its wall-clock stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, for the report only.
    pub wall: Wall,
    /// What.
    pub what: What,
}

/// The kinds of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The run begins.
    Started,
    /// Time has passed and something is due.
    Tick,
    /// A call was answered.
    Answered(CallId, Answer),
    /// A process has taken the run up again. Calls outstanding and not harmless follow, answered
    /// [`Fault::Unknown`].
    Resumed,
    /// A person, or the caller of the library, said something.
    Told(Told),
}

/// What a person, or the caller of the library, can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Begin nothing new; finish the revocations under way.
    Stop,
    /// A step left to a person is done, for this credential.
    HandDone(Subject),
    /// Leave so many milliseconds from now with what is known by then, whatever the plan said.
    Wait(u64),
    /// The journal can no longer be written: make nothing, go on revoking.
    JournalLost,
}

/// The answer to a call. Values are public; bytes never come here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Read or generated: the bytes are kept under the call's id.
    Held(Holding),
    /// A probe was answered; `Values` are what it took.
    Saw(Liveness, Values),
    /// A list was read.
    Found {
        /// What it holds.
        rows: Vec<Row>,
        /// Every page was read. If not, nothing in it is unique.
        complete: bool,
    },
    /// A step of issue or roll was done; secret parts, if any, are kept under the call's id.
    Issued(Holding),
    /// Any other step was done, and took these.
    Took(Values),
    /// Written, place by place.
    Placed(Vec<Placed>),
    /// Some places hold it, and some do not.
    PlacedInPart {
        /// Places that hold it.
        placed: Vec<Placed>,
        /// Places that do not.
        left: Vec<NotPlaced>,
    },
    /// Evidence was saved.
    Saved {
        /// Where the sealed archive is.
        archive: String,
        /// Its SHA-256, hexadecimal.
        sha256: String,
        /// What could not be saved.
        gaps: Vec<String>,
    },
    /// The files of a role were looked through.
    Scanned(Scanned),
    /// Done.
    Done,
    /// Done before us.
    Gone,
    /// Not done, or not known to be.
    Fault(Fault),
}

/// What is known of bytes that are held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// HMAC of the secret parts under the installation's key; empty if the step brought none.
    pub fingerprint: String,
    /// Public parts, `handle` among them, and what else was taken.
    pub public: Values,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Liveness {
    /// Accepted, as this principal.
    Alive(Identity),
    /// Accepted, without the right that the probe needs.
    Restricted(Identity),
    /// Refused.
    Dead {
        /// In words that only this provider's refusal has.
        by_name: bool,
    },
    /// Neither; never a verdict.
    Unclear(Why),
}

/// The principal a credential was accepted as; empty where the probe cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(pub String);

/// One entry of a provider's list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The provider's id of it.
    pub handle: String,
    /// The name it was given.
    pub label: Option<String>,
    /// When it was made, as the provider writes it.
    pub created: Option<String>,
    /// When it was last used, as the provider writes it.
    pub used: Option<String>,
    /// When it ends by itself, as the provider writes it.
    pub expires: Option<String>,
    /// Its rights, as the provider writes them.
    pub scopes: Option<String>,
    /// The hint of this row matches the old secret.
    pub hinted: bool,
    /// The provider lists it as revoked.
    pub revoked: bool,
}

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It certainly never reached the other side.
    NotSent(Why),
    /// It may have happened.
    Unknown(Why),
    /// The other side said: later. Milliseconds, where it said how long.
    Throttled(Option<u64>),
    /// The other side said no.
    Refused(Why),
}

/// A closed word, and at most the provider's own error word: never the network's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What went wrong.
    pub reason: Reason,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The provider's own error word; matches `[A-Za-z0-9_.:-]{1,64}`.
    pub word: Option<String>,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self { reason, status: None, word: None }
    }
}

/// What can go wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// No secure connection.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Reset,
    /// The process died while the call was under way.
    Crashed,
    /// The answer was longer than we read.
    TooLong,
    /// The answer was not what the file describes.
    Unexpected,
    /// The answer was a redirect, and none is followed.
    Redirect,
    /// The rendered URL would have left its base.
    LeftBase,
    /// A marker had no value.
    MissingValue,
    /// The credential that is used has no such part, and need not have it.
    NoSuchPart,
    /// The other side answered with a status that means no.
    Refused,
    /// The acting credential (admin, client) was refused, which says nothing of the subject.
    ActorRefused,
    /// Accepted, but as somebody else.
    SomebodyElse,
    /// More than one class of the probe matched, or none.
    NoClass,
    /// The answer would have written a live secret down.
    Echo,
    /// The place could not be read.
    Unreadable,
    /// The place is empty.
    Empty,
    /// The place could not be written.
    Unwritable,
    /// The place is of a kind that is only ever read.
    ReadOnly,
    /// The place holds neither the old nor the new one: somebody else has been at work.
    PlaceChanged,
    /// The command failed.
    CommandFailed,
    /// Not allowed by the trust rules of the inventory.
    Untrusted,
    /// Nothing here can do that.
    Unsupported,
    /// The journal cannot be written, so nothing is made.
    NotRecorded,
    /// The new one has the old one's handle: a call by that handle would end the new one.
    HandleReused,
}
