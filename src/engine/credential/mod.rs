//! The state machine of one credential: what is known of it, where it stands in its script, and
//! what it wants next.
//!
//! [`Machine::advance`] asks for calls; [`Machine::answered`] takes what came back. Neither knows
//! of limits or of other credentials; the run does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

mod advance;
mod answered;
mod baseline;
mod begin;
mod deliver;
mod issue;
mod kill;
mod outcome;
mod prove;
mod purpose;
mod walk;

pub(in crate::engine) use baseline::BASELINE_MS;
pub(in crate::engine) use issue::SETTLE_MS;
pub(in crate::engine) use outcome::Outcome;
use outcome::liveness;
pub(in crate::engine) use outcome::{Layers, liveness as seen, text};
pub(in crate::engine) use purpose::{Purpose, Standing};

use super::call::{
    Holding, Identity, NotPlaced, Placed, Reason, SecretId, Time, Values, Wall, Why,
};
use super::plan::Phase;
use super::proof::Proof;
use super::report::{NewState, Revoke};
use super::verdict::Before;

/// Something that is tried once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum Try {
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
    pub(in crate::engine) fn settled(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }
}

/// One side of a rotation: the old credential, or the new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct Side {
    /// HMAC of its secret parts; empty until they are held.
    pub(in crate::engine) fingerprint: String,
    /// The provider's id.
    pub(in crate::engine) handle: Option<String>,
    /// Its public parts.
    pub(in crate::engine) public: Values,
    /// The calls that brought its bytes.
    pub(in crate::engine) secrets: Vec<SecretId>,
}

impl Side {
    /// Takes what a step brought.
    pub(in crate::engine) fn absorb(&mut self, id: SecretId, holding: &Holding) {
        if !holding.fingerprint.is_empty() {
            self.fingerprint.clone_from(&holding.fingerprint);
            self.secrets.push(id);
        }
        self.learn(&holding.public);
    }

    /// A part that is the provider's id of it.
    fn find_handle(&mut self, part: Option<&str>) {
        if let Some(handle) = part.and_then(|name| self.public.get(name)).and_then(text) {
            self.handle = Some(handle);
        }
    }

    /// Takes public values; `handle` is kept apart.
    pub(in crate::engine) fn learn(&mut self, values: &Values) {
        for (name, value) in values {
            if name == "handle" {
                self.handle = text(value).or(self.handle.take());
            } else {
                self.public.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A verb under way: ways, steps, retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct Steps {
    /// The way.
    pub(in crate::engine) way: u16,
    /// The step.
    pub(in crate::engine) step: u16,
    /// Ways that were refused.
    pub(in crate::engine) refused: BTreeSet<u16>,
    /// A call is in line or under way.
    pub(in crate::engine) asked: bool,
    /// It is under way.
    pub(in crate::engine) sent: bool,
    /// Not before.
    pub(in crate::engine) next: Time,
    /// Failures in a row.
    pub(in crate::engine) failures: u32,
    /// A call that may have been done got no answer.
    pub(in crate::engine) lost: bool,
    /// The last refusal or failure.
    pub(in crate::engine) why: Option<Why>,
}

impl Steps {
    /// A call has left.
    fn send(&mut self) {
        self.sent = true;
    }

    /// A call has left, whatever became of it.
    pub(in crate::engine) fn begun(&self) -> bool {
        self.sent || self.lost || self.step > 0
    }

    /// Why it is left unfinished: who is told to wait for all of its time gets no answer in it.
    pub(in crate::engine) fn left_why(&self) -> Why {
        self.why.clone().unwrap_or_else(|| Reason::Timeout.into())
    }

    /// A call is in line, or one has left.
    pub(super) fn taken_up(&self) -> bool {
        self.asked || self.begun()
    }

    /// It was answered, or has left the line.
    fn back(&mut self) {
        self.asked = false;
        self.sent = false;
    }
}

/// How a question that is asked again has failed so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct Failures {
    /// How often.
    pub(in crate::engine) count: u32,
    /// Since when.
    pub(in crate::engine) since: Time,
    /// Not asked again before.
    pub(in crate::engine) next: Time,
}

/// What an issue came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum Issued {
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
pub(in crate::engine) struct OrphanFound {
    /// The provider's id.
    pub(in crate::engine) handle: String,
    /// Its label.
    pub(in crate::engine) label: Option<String>,
    /// It was ended.
    pub(in crate::engine) revoked: bool,
    /// It cannot be ended from here.
    pub(in crate::engine) given_up: bool,
}

/// Everything known of one credential, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct Machine {
    /// Index into the plan's phases.
    pub(in crate::engine) at: u16,
    /// Since when.
    pub(in crate::engine) since: Time,
    /// Counts phases begun: what stands in line for an earlier one is wanted no more.
    pub(in crate::engine) epoch: u32,
    /// When it wants to be asked again.
    pub(in crate::engine) wake: Option<Time>,
    /// Nothing more is done.
    pub(in crate::engine) closed: bool,
    /// Since when nothing reached its provider.
    pub(in crate::engine) unreached: Option<Time>,

    /// Reading the old one.
    pub(in crate::engine) read: Try,
    /// How often that was tried.
    pub(in crate::engine) reads: u32,
    /// Looking whether it lives.
    pub(in crate::engine) look: Try,
    /// How often that was tried, and not before when it is tried again.
    pub(in crate::engine) looks: (u32, Time),
    /// How looking has failed where the revocation needs what a look tells.
    pub(in crate::engine) look_failures: Failures,
    /// The layers of the probe under way at Baseline.
    pub(in crate::engine) look_layers: Layers,
    /// Calls for these and the next under way, and since when there are any.
    pub(in crate::engine) gathering: (u32, Time),
    /// What later verbs need.
    pub(in crate::engine) learn: Try,
    /// How asking for that has failed.
    pub(in crate::engine) learns: Failures,
    /// The step of learn.
    pub(in crate::engine) learn_step: u16,
    /// The handle.
    pub(in crate::engine) find: Try,
    /// How looking for it has failed.
    pub(in crate::engine) finds: Failures,
    /// Learned facts.
    pub(in crate::engine) taken: Values,
    /// The old one.
    pub(in crate::engine) old: Side,
    /// The new one.
    pub(in crate::engine) new: Side,
    /// What Baseline saw.
    pub(in crate::engine) before: Option<Before>,
    /// As whom the old one was accepted.
    pub(in crate::engine) identity: Option<Identity>,
    /// This very value is known to have been the provider's.
    pub(in crate::engine) known: bool,

    /// The verb under way.
    pub(in crate::engine) steps: Steps,
    /// What the revocation came to.
    pub(in crate::engine) revoke: Revoke,
    /// The way that was accepted.
    pub(in crate::engine) revoked_way: Option<u16>,
    /// Why a way was left after some of its steps, where nothing has finished its work since.
    pub(in crate::engine) half_revoked: Option<Why>,
    /// When it was accepted.
    pub(in crate::engine) revoked: Option<(Time, Wall)>,
    /// Why it was not.
    pub(in crate::engine) revoke_why: Option<Why>,
    /// When the last answer to a revocation was lost.
    #[serde(default)]
    pub(in crate::engine) revoke_lost_at: Option<Time>,
    /// Its revocation is that of the first of its group.
    pub(in crate::engine) by_leader: bool,
    /// It lived on when that was revoked, so it is revoked by itself.
    pub(in crate::engine) alone: bool,
    /// It was revoked by a roll.
    pub(in crate::engine) rolled: bool,
    /// What was minted is ended.
    pub(in crate::engine) evict: Try,

    /// The issue or roll under way; it may go on in a later phase.
    pub(in crate::engine) issue: Steps,
    /// What the issue came to.
    pub(in crate::engine) issued: Issued,
    /// Issues whose answer was lost: each try has its own label.
    pub(in crate::engine) attempts: u32,
    /// How often the provider's list was read after a lost answer.
    pub(in crate::engine) looked: u32,
    /// When the last answer to an issue was lost.
    pub(in crate::engine) lost_at: Option<Time>,
    /// Lost issues of which nothing has been seen since.
    pub(in crate::engine) missing: u32,
    /// Ending an orphan.
    pub(in crate::engine) orphan: Steps,
    /// Orphans found.
    pub(in crate::engine) orphans: Vec<OrphanFound>,
    /// As whom the new one was accepted.
    pub(in crate::engine) new_identity: Option<Identity>,
    /// When the new one last got a clear answer, and whether it was accepted.
    #[serde(default)]
    pub(in crate::engine) new_used: Option<(Time, bool)>,
    /// The layers of the probe of the new one.
    pub(in crate::engine) new_layers: Layers,
    /// The delivery.
    pub(in crate::engine) deliver: Try,
    /// Places that hold the new one.
    pub(in crate::engine) placed: Vec<Placed>,
    /// Places that do not, where it is known of each.
    #[serde(default)]
    pub(in crate::engine) not_placed: Vec<NotPlaced>,

    /// The proof.
    pub(in crate::engine) proof: Option<Proof>,
    /// Since when it is under way, and how often it was begun.
    pub(in crate::engine) proof_since: Time,
    /// Counts proofs begun: what stands in line for an earlier one is wanted no more.
    pub(in crate::engine) round: u32,
    /// Nothing more is learned by waiting.
    pub(in crate::engine) proof_over: bool,
    /// The layers of the probe of the old one.
    pub(in crate::engine) old_layers: Layers,
    /// The layers of the probe of the control.
    pub(in crate::engine) control_layers: Layers,
    /// A probe of the proof is under way.
    pub(in crate::engine) proving: bool,
    /// Which control it is.
    pub(in crate::engine) control: ControlKind,
    /// How often it was not accepted, and not before when it is asked again.
    pub(in crate::engine) control_tries: (u32, Time),
    /// The admin is no control: this probe does not take it.
    pub(in crate::engine) admin_is_none: bool,
    /// The time its provider may take is over.
    pub(in crate::engine) gave_up: bool,
    /// The last acceptance of the old one.
    pub(in crate::engine) last_accepted: Option<Wall>,
    /// The first refusal since.
    pub(in crate::engine) first_refused: Option<Wall>,
    /// When the proof was complete.
    pub(in crate::engine) proved_at: Option<Time>,

    /// It waits for nothing but the list of its owner.
    pub(in crate::engine) ready_to_sweep: bool,
    /// Why a rehearsal stopped before the revocation, or before it ended the grace of a roll.
    pub(in crate::engine) stopped_before_revoke: Option<NotSafe>,
    /// A person said that it is done.
    pub(in crate::engine) done_by_hand: bool,
}

/// Why a rehearsal left the old one as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum NotSafe {
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
    /// Another one that dies with it could not be replaced.
    GroupNotReplaced,
    /// The journal can no longer be written.
    NotRecorded,
}

/// Whose acceptance stands around the refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum ControlKind {
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
    /// Whether a new one is there to be used.
    pub(in crate::engine) fn has_new(&self) -> bool {
        self.issued == Issued::Yes
    }

    /// The new one is there, or may come, and its use is still to be tried.
    pub(in crate::engine) fn new_may_be_proved(&self, phases: &[Phase]) -> bool {
        let left = phases.get(usize::from(self.at)..).unwrap_or_default();
        !self.closed
            && matches!(self.issued, Issued::No | Issued::Looking | Issued::Yes)
            && left.contains(&Phase::ProveNew)
    }

    /// The new one has the provider's id of the old one.
    pub(in crate::engine) fn keeps_handle(&self) -> bool {
        self.new.handle.is_some() && self.new.handle == self.old.handle
    }

    /// The new one was accepted once, and was refused when it was last used.
    pub(in crate::engine) fn new_is_refused(&self) -> bool {
        self.new_identity.is_some() && matches!(self.new_used, Some((_, false)))
    }

    /// Something may have been made of which no answer says what it is.
    pub(in crate::engine) fn makes_unanswered(&self) -> bool {
        self.issue.sent || self.issued == Issued::Looking || self.lost_issues() > 0
    }

    /// Issues whose answer was lost, and of which nothing was seen since.
    pub(in crate::engine) fn lost_issues(&self) -> u32 {
        let open = matches!(self.issued, Issued::No | Issued::Looking) && self.issue.lost;
        self.missing.saturating_add(u32::from(open))
    }

    /// The new one's place in the report.
    pub(in crate::engine) fn new_state(&self, delivering: bool) -> NewState {
        match self.issued {
            Issued::Yes if self.new_identity.is_none() || self.new_is_refused() => {
                NewState::Unproven
            }
            Issued::Yes if !delivering => NewState::Held,
            Issued::Yes if self.deliver == Try::Done => NewState::Delivered,
            Issued::Yes => NewState::Escrowed,
            Issued::No | Issued::Looking | Issued::Failed(_) | Issued::Lost(_) => {
                NewState::NotIssued
            }
        }
    }

    /// The phase it is in; none once it is through.
    pub(in crate::engine) fn phase(&self, phases: &[Phase]) -> Option<Phase> {
        if self.closed { None } else { phases.get(usize::from(self.at)).copied() }
    }

    /// The next phase begins.
    pub(in crate::engine) fn next_phase(&mut self, now: Time) {
        self.at += 1;
        self.epoch += 1;
        self.since = now;
        self.steps = Steps::default();
        self.issue.asked &= self.issue.sent;
        self.orphan.asked &= self.orphan.sent;
        self.wake = None;
    }

    /// A rehearsal leaves the old one as it is: nothing is left but to look after what was made,
    /// and whether a roll has ended it.
    pub(super) fn stop_before_revoke(&mut self, phases: &[Phase], because: NotSafe) {
        self.stopped_before_revoke = Some(because);
        let wanted = if self.rolled { Phase::ProveOld } else { Phase::Sweep };
        let next = phases.iter().position(|phase| *phase == wanted);
        let before = next.and_then(|at| u16::try_from(at).ok()?.checked_sub(1));
        match before {
            Some(before) => self.at = before,
            None => self.leave(),
        }
    }

    /// Wants to be asked again at that time, if not before.
    pub(super) fn wake_by(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |other| other.min(at)));
    }

    /// Sees an acceptance of the old one.
    pub(in crate::engine) fn saw_old_accepted(&mut self, wall: Wall) {
        self.last_accepted = Some(wall);
        self.first_refused = None;
        self.before = Some(Before::Accepted);
    }

    /// Sees a refusal of the old one.
    pub(in crate::engine) fn saw_old_refused(&mut self, wall: Wall) {
        self.first_refused.get_or_insert(wall);
    }
}
