//! The plan: an ordered, complete script. It leaves no choice to the run.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use serde::{Deserialize, Serialize};

use super::call::{Identity, Placed, RoleIndex, SecretId, Subject, Values, Wall, Why};
use super::capability::{ByHand, KindCapability, Limits, Radius, Way};
use super::report::{Mode, New, Origin, Revoke, Todo, Verdict};
use super::scene::names;
use super::search::Search;
use super::verdict::Sight;
use crate::inventory::{SecretRef, Vendor};

/// Raised whenever a kept journal of an earlier release replays to other calls.
pub const ENGINE: u32 = 1;

/// What happens to one credential, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Read the old one, see whether it lives, find what later steps need.
    Baseline,
    /// Make the new one.
    Issue,
    /// One call: old out, new in.
    Roll,
    /// Use the new one until it is accepted.
    ProveNew,
    /// Write it to its places.
    Deliver,
    /// End the grace of a roll.
    Finish,
    /// End the old one.
    Revoke,
    /// End what was minted from it.
    Evict,
    /// Old refused, control accepted.
    ProveOld,
    /// List again.
    Sweep,
}

/// The whole script, record 0 of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Which.
    pub mode: Mode,
    /// The run's id.
    pub run: String,
    /// What its labels begin with: `rotate-<installation>-<run>`.
    pub label: String,
    /// The run that this one verifies.
    #[serde(default)]
    pub of: Option<Origin>,
    /// The incident, if it has a number.
    pub case: Option<String>,
    /// The session that went wrong, if it is known.
    pub session: Option<String>,
    /// Since when something new is suspect.
    pub since: Option<Wall>,
    /// Leave after this many milliseconds with what is known by then.
    pub wait_ms: Option<u64>,
    /// Inventory: SHA-256, and what changed since the role's last run.
    pub inventory: PlannedInventory,
    /// The roles, in the order in which they were named.
    pub roles: Vec<PlannedRole>,
    /// Kinds that occur, with their providers.
    pub kinds: Vec<PlannedKind>,
    /// Credentials that take part without being rotated: admins, clients, controls.
    pub actors: Vec<PlannedActor>,
    /// The credentials.
    pub credentials: Vec<Planned>,
    /// Entries of these roles that cannot be used.
    pub left_out: Vec<LeftOut>,
    /// Every host a secret can reach.
    pub hosts: Vec<PlannedHost>,
    /// Every provider file in use.
    pub providers: Vec<PlannedProvider>,
    /// Roles that can hand this one new credentials.
    pub upstream: Vec<String>,
    /// Roles it delegated to, directly or by way of others, which stay alive.
    pub downstream: Vec<String>,
    /// Roles that were asked for and that another run was containing at that moment.
    #[serde(default)]
    pub elsewhere: Vec<Elsewhere>,
    /// Unrecognised credentials that came while the run was under way, or since `since`, are
    /// revoked where that is possible by exact handle.
    #[serde(default)]
    pub revoke_strangers: bool,
    /// Handles known to the inventory or to earlier runs: no strangers.
    pub known_handles: BTreeMap<String, Vec<String>>,
    /// Places that other entries of the inventory name, where the plan looks for what none does:
    /// what stands there is no news.
    #[serde(default)]
    pub named_elsewhere: Vec<SecretRef>,
    /// Things to know before anything is touched.
    pub warnings: Vec<String>,
}

/// Where the plan came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedInventory {
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// What changed since the role's last run.
    pub changed: Vec<String>,
}

/// A role of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlannedRole {
    /// Its name.
    pub name: String,
    /// Why it is in the run where nobody named it.
    #[serde(default)]
    pub because: Option<String>,
    /// Capability owner.
    pub owner: Option<String>,
    /// Authorizing party.
    pub authorized_by: Option<String>,
    /// The model vendor's part.
    pub vendor: Option<Vendor>,
    /// The command that ends the agent; none where the plan does not stop it.
    pub stop: Option<Vec<String>>,
    /// What to save first.
    pub evidence: Vec<String>,
    /// Where to look for what no entry names; none where the plan does not look.
    #[serde(default)]
    pub search: Option<Search>,
    /// Roles outside the run that can hand it new credentials.
    #[serde(default)]
    pub upstream: Vec<String>,
}

/// A role that another run has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The role.
    pub role: String,
    /// That run.
    pub run: String,
}

/// A kind, and the provider it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedKind {
    /// Provider id in this run.
    pub provider: String,
    /// The kind's name.
    pub kind: String,
    /// What it can do.
    pub can: KindCapability,
    /// How much its provider bears.
    pub limits: Limits,
}

/// A credential that takes part without being rotated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedActor {
    /// `admin/NAME` or `ROLE/NAME`.
    pub id: String,
    /// Index into [`Plan::kinds`].
    pub kind: u32,
    /// Its vars.
    pub vars: Values,
    /// Where its parts are.
    pub places: BTreeMap<String, SecretRef>,
    /// The provider's id of it.
    pub handle: Option<String>,
}

/// Who acts: a credential outside the run, or one of the run's own (its new one once proved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acting {
    /// Index into [`Plan::actors`].
    Fixed(u32),
    /// A credential of the run.
    Planned(Subject),
}

/// One credential of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// `ROLE/NAME`.
    pub id: String,
    /// The role it is an entry of; none where that is no role of this run.
    pub role: Option<RoleIndex>,
    /// Index into [`Plan::kinds`].
    pub kind: u32,
    /// Its vars.
    pub vars: Values,
    /// The provider's id, where the inventory knows it.
    pub handle: Option<String>,
    /// Where its parts are.
    pub places: BTreeMap<String, SecretRef>,
    /// Where a new one goes, `places` first.
    pub deliver_to: Vec<BTreeMap<String, SecretRef>>,
    /// Places of contained roles among them: filled by a restore.
    #[serde(default)]
    pub withheld: Vec<BTreeMap<String, SecretRef>>,
    /// What makes its user read it again.
    pub reload: Vec<String>,
    /// It is read on each use.
    pub read_on_use: bool,
    /// Rights of a new one.
    pub scopes: Vec<String>,
    /// Life of a new one, milliseconds.
    pub ttl_ms: Option<u64>,
    /// Who may issue and revoke.
    pub admins: BTreeMap<String, Acting>,
    /// The OAuth client it was granted to.
    pub client: Option<Acting>,
    /// The positive control where no new one can serve.
    pub control: Option<Acting>,
    /// What happens, in order.
    pub phases: Vec<Phase>,
    /// The one whose revocation kills this one too; it is revoked by that alone.
    pub leader: Option<Subject>,
    /// Others of the run that need this one as their admin or client.
    pub serves: Vec<Subject>,
    /// New ones are delivered in this run.
    pub deliver: bool,
    /// Ways of revocation that are left out because they would kill more than `max_blast`.
    pub ways_left_out: Vec<u16>,
    /// What dies outside the run.
    pub collateral: Vec<String>,
    /// Network segment.
    pub segment: String,
    /// It is what an earlier run left of this credential.
    #[serde(default)]
    pub left_of: Option<Subject>,
    /// What an earlier run knows of it (restore, verify).
    pub earlier: Option<Earlier>,
    /// What the labels of interrupted runs begin with, each of which may have made one that nobody
    /// holds.
    #[serde(default)]
    pub lost_before: Vec<String>,
}

/// What an earlier run knows of a credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    /// That run.
    pub run: String,
    /// The old one.
    pub old: Option<KnownSide>,
    /// The new one.
    pub new: Option<KnownSide>,
    /// The old one was seen accepted, as this identity.
    pub accepted_as: Option<Identity>,
    /// The new one was seen accepted, as this identity.
    pub new_accepted_as: Option<Identity>,
    /// When the old one was last seen accepted.
    pub last_accepted: Option<Wall>,
    /// When its revocation was accepted.
    pub revoked_at: Option<Wall>,
    /// What the revocation came to.
    pub revoke: Option<Revoke>,
    /// A person said that it is done.
    #[serde(default)]
    pub done_by_hand: bool,
    /// Why its revocation was left after some of its steps.
    #[serde(default)]
    pub half_revoked: Option<Why>,
    /// The new one is already in its places.
    pub delivered: bool,
    /// Places that hold it, all of them or some.
    #[serde(default)]
    pub placed: Vec<Placed>,
    /// Its probe was shown to see, or to be blind.
    pub sight: Option<Sight>,
    /// What that run said of the old one, and why.
    pub verdict: Option<(Verdict, String)>,
    /// It may have made a new one that nobody holds.
    #[serde(default)]
    pub lost: bool,
    /// What that run left beside the old one, for a verify to repeat.
    #[serde(default)]
    pub left: Option<Left>,
}

/// What a run said of the new one and left to a person: a verify looks at nothing of it but whether
/// the new one is accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// The new one.
    pub new: New,
    /// What is left to do.
    pub todo: Vec<Todo>,
}

/// A credential as an earlier run knew it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownSide {
    /// Fingerprint of its secret parts.
    pub fingerprint: String,
    /// The provider's id.
    pub handle: Option<String>,
    /// Public parts.
    pub public: Values,
    /// Its bytes, adopted into this run.
    pub secrets: Vec<SecretId>,
}

/// An entry that cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// `ROLE/NAME`, as far as it can be told.
    pub id: String,
    /// Its provider, as far as it can be told.
    pub provider: String,
    /// Line in the inventory, from 1; 0 where it is of no inventory.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// Of its value, where that is at hand.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Where a person ends it.
    #[serde(default)]
    pub by_hand: Option<ByHand>,
}

impl LeftOut {
    /// What is wrong with it, and where.
    pub fn why(&self) -> String {
        match self.line {
            0 => self.message.clone(),
            line => format!("inventory line {line}: {}", self.message),
        }
    }
}

/// A host that a secret can reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedHost {
    /// Host, with its port where it is not the scheme's own.
    pub host: String,
    /// It is the user's word, not the vendor's.
    pub from_inventory: bool,
}

/// A provider file in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedProvider {
    /// Its id in this run.
    pub id: String,
    /// The file.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// They are the user's word.
    pub hosts_from_inventory: bool,
}

/// What a responder asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The run's id.
    pub run: String,
    /// This installation's short id.
    pub installation: String,
    /// The incident.
    pub case: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Since when something new is suspect.
    pub since: Option<Wall>,
    /// Milliseconds.
    pub wait_ms: Option<u64>,
    /// Revoke only.
    pub revoke_only: bool,
    /// Deliver in the same run.
    pub deliver: bool,
    /// `PROVIDER` or `PROVIDER/NAME`; everything where it is empty.
    pub only: Vec<String>,
    /// The widest blast radius allowed.
    pub max_blast: Option<Radius>,
    /// Take every role with a credential that passed through one of these.
    pub through: Vec<String>,
    /// Take the roles that these delegated to, directly or by way of others.
    pub with_delegates: bool,
    /// Revoke unrecognised credentials that came while the run was under way, or since `since`.
    pub revoke_strangers: bool,
    /// What changed in the inventory since the role's last run.
    pub changed: Vec<String>,
    /// Roles marked contained or disabled in the state directory.
    pub contained: Vec<String>,
    /// Handles that earlier runs issued, by provider.
    pub issued_before: BTreeMap<String, Vec<String>>,
    /// What earlier runs know, by credential id (restore, verify; and known fingerprints).
    pub earlier: BTreeMap<String, Earlier>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such role.
    #[error("no role {role} in the inventory{}", meant(nearest.as_deref()))]
    UnknownRole {
        /// As asked for.
        role: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// No credential is marked with that name.
    #[error("no credential of the inventory passed through {through}{}", meant(nearest.as_deref()))]
    NothingThrough {
        /// As asked for.
        through: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// `--only` leaves nothing.
    #[error("nothing of {roles} matches --only {only}")]
    NothingLeft {
        /// The roles.
        roles: String,
        /// The filter.
        only: String,
    },
    /// A rehearsal would not be safe.
    #[error("{credential} cannot be rehearsed: {because}")]
    NotRehearsable {
        /// The credential or role.
        credential: String,
        /// Why.
        because: String,
        /// What to do.
        hint: String,
    },
    /// Nothing is held for this role.
    #[error("nothing is held for {role}")]
    NothingHeld {
        /// The role.
        role: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl Plan {
    /// What the labels begin with of all that this run may have made, its own first, or an
    /// interrupted run of these credentials.
    pub(super) fn labels<'a>(&self, of: impl Iterator<Item = &'a Planned>) -> Vec<String> {
        let before = of.flat_map(|planned| &planned.lost_before);
        iter::once(&self.label).chain(before).map(|label| format!("{label}-")).collect()
    }

    /// Places that its own credentials and actors name, each once.
    pub(super) fn places(&self) -> BTreeSet<&SecretRef> {
        let own = self.credentials.iter().flat_map(|it| {
            let new = it.deliver_to.iter().chain(&it.withheld);
            it.places.values().chain(new.flat_map(BTreeMap::values))
        });
        own.chain(self.actors.iter().flat_map(|it| it.places.values())).collect()
    }

    /// A credential of the run.
    pub fn planned(&self, subject: Subject) -> Option<&Planned> {
        self.credentials.get(subject.0 as usize)
    }

    /// The kind of a credential or actor.
    pub fn kind(&self, index: u32) -> Option<&PlannedKind> {
        self.kinds.get(index as usize)
    }
}

impl Planned {
    /// The admin of this name, or the one that was given without a name; a call that names none
    /// takes the only one there is. One that was given under another name serves for that alone.
    pub(crate) fn admin(&self, name: &str) -> Option<Acting> {
        let all = &self.admins;
        let only = || all.values().next().filter(|_| name.is_empty() && all.len() == 1);
        all.get(name).or_else(|| all.get("")).or_else(only).copied()
    }

    /// Whether the plan has everybody who takes part in a way.
    pub(crate) fn can_go(&self, way: &Way) -> bool {
        let at_hand = |name: &String| match name.split_once('.').unwrap_or((name, "")) {
            ("admin", which) => self.admin(which).is_some(),
            ("client", _) => self.client.is_some(),
            _ => true,
        };
        way.steps.iter().all(|step| names(step).iter().all(at_hand))
    }
}
