//! The state machine of one credential: what is known of it, where it stands in its script, and
//! what it wants next.
//!
//! [`Machine::advance`] asks for calls; [`Machine::answered`] takes what came back. Neither knows
//! of limits or of other credentials; the run does.

use serde::{Deserialize, Serialize};

mod advance;
pub(in crate::engine) use advance::BASELINE_MS;
mod answered;

use super::call::{
    Answer, Fault, Holding, Identity, Liveness, Placed, Reason, SecretId, Time, Values, Wall, Why,
};
use super::plan::Phase;
use super::proof::Proof;
use super::report::{NewState, Revoke};
use super::verdict::Before;

/// What a call is for; with the credential, it says everything that is needed to make it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Read the old one.
    Read,
    /// Read a credential that acts without being rotated.
    ReadActor(u32),
    /// See whether the old one lives before anything is done to it; a layer of the probe.
    Baseline(u16),
    /// A step of what later verbs need to know.
    Learn(u16),
    /// Find the old one's handle.
    Find,
    /// List what exists before or after, for every credential of this list.
    List(u32),
    /// The negative control, for every credential of this probe.
    MadeUp(u32, u16),
    /// Choose the bytes of the new one.
    Generate,
    /// A step of issue.
    Issue {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Look whether an issue whose answer was lost was made.
    LookForIssued,
    /// End what an issue made whose answer was lost.
    RevokeOrphan {
        /// Its handle.
        handle: String,
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of roll.
    Roll {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of finish.
    Finish {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Use the new one; a layer.
    ProbeNew(u16),
    /// Write it to its places.
    Deliver,
    /// A step of revoke.
    Revoke {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of evict.
    Evict {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Use the old one; a layer.
    ProbeOld(u16),
    /// Use the positive control; a layer.
    ProbeControl(u16),
    /// End the agent of a role.
    Stop(u32),
    /// Save the evidence of a role.
    Preserve(u32),
}

impl Purpose {
    /// The phase that asks for it; none for what may be answered in any.
    pub(super) fn phase(&self) -> Option<Phase> {
        match self {
            Self::Generate | Self::Issue { .. } => Some(Phase::Issue),
            Self::Roll { .. } => Some(Phase::Roll),
            Self::Finish { .. } => Some(Phase::Finish),
            Self::ProbeNew(_) => Some(Phase::ProveNew),
            Self::Deliver => Some(Phase::Deliver),
            Self::Revoke { .. } => Some(Phase::Revoke),
            Self::Evict { .. } => Some(Phase::Evict),
            Self::ProbeOld(_) | Self::ProbeControl(_) => Some(Phase::ProveOld),
            Self::LookForIssued
            | Self::RevokeOrphan { .. }
            | Self::Read
            | Self::ReadActor(_)
            | Self::Baseline(_)
            | Self::Learn(_)
            | Self::Find
            | Self::List(_)
            | Self::MadeUp(..)
            | Self::Stop(_)
            | Self::Preserve(_) => None,
        }
    }
}

/// Something that is tried once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Try {
    /// Not yet.
    #[default]
    Todo,
    /// Under way.
    Flying,
    /// Done.
    Done,
    /// Not done.
    Failed(Why),
}

impl Try {
    /// Whether nothing more will come of it.
    pub fn settled(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }
}

/// One side of a rotation: the old credential, or the new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// HMAC of its secret parts; empty until they are held.
    pub fingerprint: String,
    /// The provider's id.
    pub handle: Option<String>,
    /// Its public parts.
    pub public: Values,
    /// The calls that brought its bytes.
    pub secrets: Vec<SecretId>,
}

impl Side {
    /// Takes what a step brought.
    pub fn absorb(&mut self, id: SecretId, holding: &Holding) {
        if !holding.fingerprint.is_empty() {
            self.fingerprint.clone_from(&holding.fingerprint);
            self.secrets.push(id);
        }
        self.learn(&holding.public);
    }

    /// Takes public values; `handle` is kept apart.
    pub fn learn(&mut self, values: &Values) {
        for (name, value) in values {
            if name == "handle" {
                self.handle = text(value).or(self.handle.take());
            } else {
                self.public.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A JSON string or number as text: handles are either.
pub(in crate::engine) fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A verb under way: ways, steps, retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// The way.
    pub way: u16,
    /// The step.
    pub step: u16,
    /// A call is under way.
    pub flying: bool,
    /// Not before.
    pub next: Time,
    /// Failures in a row.
    pub failures: u32,
    /// How often a call was sent at all.
    pub sent: u32,
    /// The last refusal or failure.
    pub why: Option<Why>,
}

/// What an issue came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issued {
    /// Nothing yet.
    #[default]
    No,
    /// An answer was lost: look before anything is sent again.
    Looking,
    /// Made, and its bytes are held.
    Yes,
    /// Not made.
    Failed(Why),
    /// Perhaps made, and nothing here can tell.
    Lost(Why),
}

/// Made by this run, bytes lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrphanFound {
    /// The provider's id.
    pub handle: String,
    /// Its label.
    pub label: Option<String>,
    /// It was ended.
    pub revoked: bool,
    /// It cannot be ended from here.
    pub given_up: bool,
}

/// Layers of a probe: alive if any is, dead if all are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// The layer to ask next.
    pub next: u16,
    /// Every layer so far refused, each by name.
    pub by_name: bool,
    /// At least one layer refused.
    pub refused: bool,
    /// A layer was not clear.
    pub unclear: Option<Why>,
}

impl Layers {
    /// Before the first layer.
    pub fn new() -> Self {
        Self { next: 0, by_name: true, refused: false, unclear: None }
    }

    /// Takes the answer of one layer of `count`; the probe's own answer once it is certain.
    pub fn take(&mut self, seen: Liveness, count: u16) -> Option<Liveness> {
        self.next += 1;
        match seen {
            Liveness::Alive(_) | Liveness::Restricted(_) => return Some(seen),
            Liveness::Dead { by_name } => {
                self.refused = true;
                self.by_name &= by_name;
            }
            // A layer of an optional part that this credential does not have.
            Liveness::Unclear(why) if why.reason == Reason::MissingValue && count > 1 => {}
            Liveness::Unclear(why) => self.unclear = Some(why),
        }
        if self.next < count {
            return None;
        }
        Some(match (self.unclear.take(), self.refused) {
            (Some(why), _) => Liveness::Unclear(why),
            (None, true) => Liveness::Dead { by_name: self.by_name },
            (None, false) => Liveness::Unclear(Reason::MissingValue.into()),
        })
    }
}

/// Everything known of one credential, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Index into the plan's phases.
    pub at: u16,
    /// Since when.
    pub since: Time,
    /// When it wants to be asked again.
    pub wake: Option<Time>,
    /// Nothing more is done.
    pub closed: bool,
    /// Reading the old one.
    pub read: Try,
    /// Looking whether it lives.
    pub look: Try,
    /// The layers of the probe under way at Baseline.
    pub look_layers: Layers,
    /// What later verbs need.
    pub learn: Try,
    /// The step of learn.
    pub learn_step: u16,
    /// The handle.
    pub find: Try,
    /// Learned facts.
    pub taken: Values,
    /// The old one.
    pub old: Side,
    /// The new one.
    pub new: Side,
    /// What Baseline saw.
    pub before: Option<Before>,
    /// As whom the old one was accepted.
    pub identity: Option<Identity>,
    /// This very value is known to have been the provider's.
    pub known: bool,
    /// The verb under way.
    pub steps: Steps,
    /// What the revocation came to.
    pub revoke: Revoke,
    /// When it was accepted.
    pub revoked: Option<(Time, Wall)>,
    /// Why it was not.
    pub revoke_why: Option<Why>,
    /// It was revoked by a roll.
    pub rolled: bool,
    /// What was minted is ended.
    pub evict: Try,
    /// What the issue came to.
    pub issued: Issued,
    /// Issues whose answer was lost: each try has its own label.
    pub attempts: u32,
    /// The provider's list was read after a lost answer.
    pub looked: bool,
    /// Orphans found.
    pub orphans: Vec<OrphanFound>,
    /// As whom the new one was accepted.
    pub new_identity: Option<Identity>,
    /// The layers of the probe of the new one.
    pub new_layers: Layers,
    /// The delivery.
    pub deliver: Try,
    /// Places that hold the new one.
    pub placed: Vec<Placed>,
    /// The proof.
    pub proof: Option<Proof>,
    /// The layers of the probe of the old one.
    pub old_layers: Layers,
    /// The layers of the probe of the control.
    pub control_layers: Layers,
    /// A probe of the proof is under way.
    pub proving: bool,
    /// Which control it is.
    pub control: ControlKind,
    /// The time its provider may take is over.
    pub gave_up: bool,
    /// The last acceptance of the old one.
    pub last_accepted: Option<Wall>,
    /// The first refusal since.
    pub first_refused: Option<Wall>,
    /// When the proof was complete.
    pub proved_at: Option<Time>,
    /// Why a rehearsal stopped before the revocation.
    pub stopped_before_revoke: Option<NotSafe>,
    /// A person said that it is done.
    pub done_by_hand: bool,
}

/// Why a rehearsal left the old one as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotSafe {
    /// The old one was not seen alive.
    OldNotAlive,
    /// No new one was issued.
    NotIssued,
    /// The new one was not proved live.
    NotProved,
    /// The new one is not in its places.
    NotInPlaces,
    /// Its user was not told to read it again.
    NotReloaded,
}

/// Whose acceptance stands around the refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    /// None.
    #[default]
    None,
    /// The new one.
    New,
    /// One that the inventory names.
    Named,
    /// The admin, where this very probe accepts it.
    Admin,
}

impl Machine {
    /// The new one's place in the report.
    pub fn new_state(&self, delivering: bool) -> NewState {
        match self.issued {
            Issued::Yes if self.new_identity.is_none() => NewState::Unproven,
            Issued::Yes if !delivering => NewState::Held,
            Issued::Yes if self.deliver == Try::Done => NewState::Delivered,
            Issued::Yes => NewState::Escrowed,
            Issued::No | Issued::Looking | Issued::Failed(_) | Issued::Lost(_) => {
                NewState::NotIssued
            }
        }
    }

    /// The phase it is in; none once it is through.
    pub fn phase(&self, phases: &[Phase]) -> Option<Phase> {
        if self.closed { None } else { phases.get(usize::from(self.at)).copied() }
    }

    /// The next phase begins.
    pub fn next_phase(&mut self, now: Time) {
        self.at += 1;
        self.since = now;
        self.steps = Steps::default();
        self.wake = None;
    }

    /// Sees an acceptance of the old one.
    pub fn saw_old_accepted(&mut self, wall: Wall) {
        self.last_accepted = Some(wall);
        self.first_refused = None;
        if self.before != Some(Before::Accepted) {
            self.before = Some(Before::Accepted);
        }
    }

    /// Sees a refusal of the old one.
    pub fn saw_old_refused(&mut self, wall: Wall) {
        self.first_refused.get_or_insert(wall);
    }
}

/// What an answer means for the step of a verb.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Done; take these.
    Done(Values),
    /// Done before us.
    Gone,
    /// Done, and bytes came with it.
    Brought(Holding),
    /// Certainly not sent.
    NotSent(Why),
    /// Told to wait.
    Throttled(Option<u64>),
    /// Perhaps done.
    Lost(Why),
    /// Refused.
    Refused(Why),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done | Answer::Placed(_) | Answer::Saved { .. } => Self::Done(Values::new()),
            Answer::Took(values) | Answer::Saw(_, values) => Self::Done(values),
            Answer::Found { .. } => Self::Done(Values::new()),
            Answer::Held(holding) | Answer::Issued(holding) => Self::Brought(holding),
            Answer::Gone => Self::Gone,
            Answer::Fault(Fault::NotSent(why)) => Self::NotSent(why),
            Answer::Fault(Fault::Throttled(wait)) => Self::Throttled(wait),
            Answer::Fault(Fault::Unknown(why)) => Self::Lost(why),
            Answer::Fault(Fault::Refused(why)) => Self::Refused(why),
        }
    }
}

/// What a probe saw, whatever form the answer came in.
pub(super) fn liveness(answer: Answer) -> (Liveness, Values) {
    match answer {
        Answer::Saw(seen, values) => (seen, values),
        Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why) | Fault::Refused(why)) => {
            (Liveness::Unclear(why), Values::new())
        }
        Answer::Fault(Fault::Throttled(_)) => {
            (Liveness::Unclear(Reason::Timeout.into()), Values::new())
        }
        _ => (Liveness::Unclear(Reason::Unexpected.into()), Values::new()),
    }
}
