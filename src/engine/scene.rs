//! What a credential's machine may see of its run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::call::{Party, Reason, RoleIndex, Subject, Time, Verb, Wall, Why};
use super::capability::{Actor, StepCapability, Way};
use super::client::Whose;
use super::credential::{Machine, Side, Try};
use super::plan::{Acting, KnownSide, Phase, Plan, Planned, PlannedKind};
use super::queue::Lane;
use super::report::{Mode, Revoke};
use super::search::Scanned;
use super::sweep::Lists;
use super::verdict::{Before, Sight};

/// A credential that acts without being rotated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ActorState {
    /// Reading it.
    pub(super) read: Try,
    /// How often that was tried.
    pub(super) reads: u32,
    /// What was read.
    pub(super) side: Side,
}

/// The agent of a role, and its evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RoleState {
    /// Ending the agent.
    pub(super) stop: Try,
    /// When it was ended.
    pub(super) stopped_at: Option<Wall>,
    /// Saving the evidence.
    pub(super) preserve: Try,
    /// The archive and its SHA-256.
    pub(super) archive: Option<(String, String)>,
    /// What could not be saved.
    pub(super) gaps: Vec<String>,
    /// Looking for what no entry names.
    pub(super) scan: Try,
    /// What was found.
    pub(super) scanned: Scanned,
    /// How often that was tried.
    pub(super) scans: u32,
    /// How often the agent's end was tried.
    pub(super) stops: u32,
    /// How often the evidence was tried.
    pub(super) preserves: u32,
}

/// The negative control of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SightState {
    /// What it showed; none until it is settled.
    pub(super) sight: Option<Sight>,
    /// A made-up credential is under way.
    pub(super) flying: bool,
    /// Layers of the probe.
    pub(super) layers: super::credential::Layers,
    /// Unclear answers so far.
    pub(super) unclear: u32,
    /// Not before.
    pub(super) next: Time,
    /// Who waits for it.
    pub(super) waiting: BTreeSet<Subject>,
}

/// Whether a step can be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ready {
    /// Now.
    Now,
    /// When something that is under way is done.
    Later,
    /// Not in this run.
    Never(Why),
}

/// Something that a machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Want {
    /// What.
    pub(super) purpose: super::credential::Purpose,
    /// How urgent.
    pub(super) lane: Lane,
}

/// What a machine needs to know of the others, counted by the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    /// Somebody still needs this one as admin or client.
    pub(super) needed: bool,
    /// A call that uses the old one as admin or client is under way.
    pub(super) in_use: bool,
    /// Some that die with this one are not ready for that.
    pub(super) group_pending: bool,
    /// One of the group cannot be replaced.
    pub(super) group_broken: bool,
    /// This one dies with another whose revocation is still to come.
    pub(super) leader_is_to_revoke: bool,
    /// The revocation of its leader has been sent, and may have ended it.
    pub(super) leader_has_revoked: bool,
    /// Of those that die together, some are still to be revoked.
    pub(super) group_is_to_revoke: bool,
}

/// The view of one machine.
pub(super) struct Scene<'a> {
    pub(super) plan: &'a Plan,
    pub(super) subject: Subject,
    pub(super) planned: &'a Planned,
    pub(super) kind: &'a PlannedKind,
    pub(super) now: Time,
    pub(super) wall: Wall,
    pub(super) actors: &'a [ActorState],
    pub(super) machines: &'a [Machine],
    pub(super) roles: &'a [RoleState],
    pub(super) lists: &'a Lists,
    /// Handles known at this provider.
    pub(super) known: Option<&'a BTreeSet<String>>,
    pub(super) sight: Option<&'a SightState>,
    pub(super) around: Around,
    /// How long this provider's limits hold back the last credential there, milliseconds.
    pub(super) line_ms: u64,
    /// The list of this credential's owner was read again, or will not be.
    pub(super) swept: bool,
    /// Nothing new is begun.
    pub(super) stopping: bool,
    /// Nothing is made any more.
    pub(super) journal_lost: bool,
}

impl Scene<'_> {
    /// The party that acts, if its bytes are at hand.
    pub(super) fn acting(&self, acting: Acting) -> Result<Party, Ready> {
        match acting {
            Acting::Fixed(index) => self.fixed(index),
            Acting::Planned(subject) => self.of_run(subject),
        }
    }

    fn fixed(&self, index: u32) -> Result<Party, Ready> {
        let unreadable = || Ready::Never(Reason::Unreadable.into());
        let actor = self.plan.actors.get(index as usize).ok_or_else(unreadable)?;
        let state = self.actors.get(index as usize).ok_or_else(unreadable)?;
        let kind = self.plan.kind(actor.kind).ok_or_else(unreadable)?;
        match &state.read {
            Try::Done => Ok(party(kind, &actor.vars, &state.side)),
            Try::Failed(why) => Err(Ready::Never(why.clone())),
            Try::Todo | Try::Flying => Err(Ready::Later),
        }
    }

    /// What is known of a credential of the run.
    pub(super) fn one_of_run(
        &self,
        subject: Subject,
    ) -> Result<(&Planned, &Machine, &PlannedKind), Ready> {
        let one = || {
            let planned = self.plan.planned(subject)?;
            let machine = self.machines.get(subject.0 as usize)?;
            Some((planned, machine, self.plan.kind(planned.kind)?))
        };
        one().ok_or_else(|| Ready::Never(Reason::Unreadable.into()))
    }

    /// The new one once it is proved, the old one until then.
    fn of_run(&self, subject: Subject) -> Result<Party, Ready> {
        let (planned, machine, kind) = self.one_of_run(subject)?;
        if machine.new_identity.is_some() {
            return Ok(party(kind, &planned.vars, &machine.new));
        }
        let proves = planned.phases.get(usize::from(machine.at)..).unwrap_or_default();
        let goes_on = matches!(self.plan.mode, Mode::Restore | Mode::Verify);
        if goes_on && machine.has_new() && proves.contains(&Phase::ProveNew) && !machine.closed {
            return Err(Ready::Later);
        }
        self.old_of_run(subject)
    }

    /// The old one, as long as it is not revoked.
    pub(super) fn old_of_run(&self, subject: Subject) -> Result<Party, Ready> {
        let (planned, machine, kind) = self.one_of_run(subject)?;
        if matches!(machine.revoke, Revoke::Accepted | Revoke::Lost) {
            return Err(Ready::Never(Reason::ActorRefused.into()));
        }
        match &machine.read {
            Try::Done => Ok(party(kind, &planned.vars, &machine.old)),
            Try::Failed(why) => Err(Ready::Never(why.clone())),
            Try::Todo | Try::Flying => Err(Ready::Later),
        }
    }

    /// The admin of this name.
    pub(super) fn admin(&self, name: &str) -> Option<Acting> {
        self.planned.admin(name)
    }

    /// The party that stands under a name in a step's markers.
    pub(super) fn party(
        &self,
        machine: &Machine,
        name: &str,
        whose: Whose,
    ) -> Result<Party, Ready> {
        let missing = || Ready::Never(Why::from(Reason::MissingValue));
        match name.split_once('.').map_or((name, ""), |(head, tail)| (head, tail)) {
            ("old" | "it", _) => match &machine.read {
                Try::Done => Ok(party(self.kind, &self.planned.vars, &machine.old)),
                Try::Failed(why) => Err(Ready::Never(why.clone())),
                Try::Todo | Try::Flying => Err(Ready::Later),
            },
            ("new", _) if !machine.new.secrets.is_empty() || !machine.new.public.is_empty() => {
                Ok(party(self.kind, &self.planned.vars, &machine.new))
            }
            ("live", _) if machine.new_identity.is_some() => {
                Ok(party(self.kind, &self.planned.vars, &machine.new))
            }
            ("live", _) => self.party(machine, "old", whose),
            ("admin", tail) => self.acting(self.admin(tail).ok_or_else(missing)?),
            ("client", _) => self.client(whose),
            _ => Err(missing()),
        }
    }

    /// Whether a step can be made now, as far as its parties and public values go.
    pub(super) fn ready(&self, machine: &Machine, verb: Verb, step: &StepCapability) -> Ready {
        let mut later = false;
        for name in names(step) {
            match self.party(machine, &name, verb.into()) {
                Ok(_) => {}
                Err(Ready::Later | Ready::Now) => later = true,
                // What we choose or issue ourselves comes with the step before.
                Err(Ready::Never(_)) if name == "new" && makes(verb) => {}
                Err(never) => return never,
            }
        }
        for name in &step.needs {
            if self.knows(machine, verb, name) {
                continue;
            }
            if !self.may_come(machine, name) {
                return Ready::Never(Reason::MissingValue.into());
            }
            later = true;
        }
        if later { Ready::Later } else { Ready::Now }
    }

    fn knows(&self, machine: &Machine, verb: Verb, name: &str) -> bool {
        const ALWAYS: [&str; 5] = ["label", "scopes", "grace", "random", "base"];
        let head = name.split('.').next().unwrap_or(name);
        let side = if makes(verb) { &machine.new } else { &machine.old };
        ALWAYS.contains(&head)
            || self.planned.vars.contains_key(name)
            || machine.taken.contains_key(name)
            || side.public.contains_key(name)
            || (name == "handle" && (side.handle.is_some() || verb == Verb::Issue))
            || (name == "handle" && verb == Verb::Roll && machine.old.handle.is_some())
            || (name == "who" && machine.identity.is_some())
            || (matches!(head, "ttl" | "expires") && self.planned.ttl_ms.is_some())
            || head == "jwt"
            // A step of a making verb takes what its later steps need.
            || (makes(verb) && machine.issue.step > 0)
    }

    /// Whether a public value can still be brought by what Baseline asks for.
    fn may_come(&self, machine: &Machine, name: &str) -> bool {
        let takes = |verb| {
            let mut steps = self.ways(verb).iter().flat_map(|way: &Way| &way.steps);
            steps.any(|step| step.takes.iter().any(|taken| taken == name))
        };
        let is_handle = name == "handle";
        let by_read = is_handle || self.kind.can.parts.contains_key(name);
        (by_read && !machine.read.settled())
            || (!machine.learn.settled() && takes(Verb::Learn))
            || (!machine.find.settled() && (is_handle || takes(Verb::Find)))
            || (!machine.look.settled() && (name == "who" || takes(Verb::Probe)))
    }

    /// Whether this credential's role may be written to: its agent is ended and its evidence
    /// saved, or nobody named a way.
    pub(super) fn role_quiet(&self) -> Ready {
        let Some(RoleIndex(index)) = self.planned.role else { return Ready::Now };
        let Some(role) = self.roles.get(index as usize) else { return Ready::Now };
        match (&role.stop, &role.preserve) {
            (Try::Done, Try::Done) => Ready::Now,
            (Try::Failed(why), _) | (_, Try::Failed(why)) => Ready::Never(why.clone()),
            _ => Ready::Later,
        }
    }

    /// The ways of a verb; empty where the kind has none.
    pub(super) fn ways(&self, verb: Verb) -> &[Way] {
        self.kind.can.ways(verb)
    }

    /// A step of a way.
    pub(super) fn step(&self, verb: Verb, way: u16, step: u16) -> Option<&StepCapability> {
        self.ways(verb).get(usize::from(way))?.steps.get(usize::from(step))
    }

    /// The first layer of the probe, where it may be used.
    pub(super) fn probe(&self) -> Option<&Way> {
        self.kind.can.probe()
    }

    /// Layers of this kind's probe.
    pub(super) fn layers(&self) -> u16 {
        u16::try_from(self.ways(Verb::Probe).len()).unwrap_or(u16::MAX)
    }

    /// Whether every way of issue waits for a person.
    pub(super) fn asks_a_person(&self) -> bool {
        self.kind.asks_a_person()
    }

    /// The part that is the provider's id of the credential.
    pub(super) fn handle_part(&self) -> Option<&str> {
        self.kind.can.handle_part()
    }

    /// The label of the issue with this number of lost ones before it.
    pub(super) fn label(&self, attempt: u32) -> String {
        let number = self.subject.0;
        match attempt {
            0 => format!("{}-{number}", self.plan.label),
            tries => format!("{}-{number}-{tries}", self.plan.label),
        }
    }

    /// Whether an earlier run saw this very value accepted: as its old one, or as the new one that
    /// it proved and delivered.
    pub(super) fn journal_knows(&self, fingerprint: &str) -> bool {
        let same = |side: &Option<KnownSide>| {
            side.as_ref().is_some_and(|side| side.fingerprint == fingerprint)
        };
        !fingerprint.is_empty()
            && self.planned.earlier.as_ref().is_some_and(|earlier| {
                (earlier.accepted_as.is_some() && same(&earlier.old))
                    || (earlier.new_accepted_as.is_some() && same(&earlier.new))
                    || (earlier.delivered && same(&earlier.new))
            })
    }

    /// The phases from one on.
    pub(super) fn phases_from(&self, at: u16) -> &[Phase] {
        self.planned.phases.get(usize::from(at)..).unwrap_or_default()
    }

    pub(super) fn in_baseline(&self, machine: &Machine) -> bool {
        machine.phase(&self.planned.phases) == Some(Phase::Baseline)
    }

    /// Whether a phase stands before the revocation in this script.
    pub(super) fn comes_before_revoke(&self, phase: Phase) -> bool {
        let at = |wanted| self.planned.phases.iter().position(|one| *one == wanted);
        matches!((at(phase), at(Phase::Revoke)), (Some(a), Some(b)) if a < b)
    }

    /// The one whose revocation ends this one too.
    pub(super) fn leader(&self) -> Option<&Machine> {
        self.planned.leader.and_then(|at| self.machines.get(at.0 as usize))
    }

    /// Whether the leader was revoked, and in a way that kills as wide as the kind says. Of one
    /// that was refused before, nobody knows what its revocation still ended.
    pub(super) fn died_with(&self, leader: &Machine) -> bool {
        let kind = self
            .planned
            .leader
            .and_then(|at| self.plan.planned(at))
            .and_then(|planned| self.plan.kind(planned.kind));
        let Some((kind, way)) = kind.zip(leader.revoked_way) else { return false };
        let way = kind.can.ways(Verb::Revoke).get(usize::from(way));
        let blast = way.map_or(&kind.can.blast, |way| kind.can.blast_of(way));
        leader.revoke == Revoke::Accepted
            && leader.before != Some(Before::Refused)
            && blast.kills >= self.kind.can.blast.kills
    }

    /// Whether this kind's list shows the label that was given.
    pub(super) fn lists_labels(&self) -> bool {
        lists_labels(self.kind)
    }

    /// Without labels, an issue waits for the list that shows what was there before; not for one
    /// whose admin the inventory does not name.
    pub(super) fn list_is_awaited(&self) -> bool {
        let mut steps = self.ways(Verb::Find).iter().take(1).flat_map(|way| &way.steps);
        let readable = steps.all(|step| match &step.actor {
            Actor::Admin(name) => self.admin(name.as_deref().unwrap_or_default()).is_some(),
            _ => true,
        });
        readable && !self.lists_labels() && self.lists.before_is_pending(self.subject)
    }
}

impl PlannedKind {
    /// Whether every way of issue waits for a person.
    pub(super) fn asks_a_person(&self) -> bool {
        let ways = self.can.ways(Verb::Issue);
        !ways.is_empty() && ways.iter().all(|way| way.person)
    }
}

/// Whether this kind's list shows labels.
pub(super) fn lists_labels(kind: &PlannedKind) -> bool {
    let steps = kind.can.ways(Verb::Find).iter().flat_map(|way| &way.steps);
    steps.into_iter().any(|step| step.takes.iter().any(|name| name == "label"))
}

fn makes(verb: Verb) -> bool {
    matches!(verb, Verb::Issue | Verb::Roll)
}

/// Every party of a step, its actor included.
pub(super) fn names(step: &StepCapability) -> Vec<String> {
    let mut names = step.parties.clone();
    // The one being probed is put in by whoever says which it is.
    names.extend(step.actor.party().filter(|name| name != "it"));
    names.sort();
    names.dedup();
    names
}

/// A side of a credential as it takes part in a call.
pub(super) fn party(kind: &PlannedKind, vars: &super::call::Values, side: &Side) -> Party {
    let mut public = side.public.clone();
    if let Some(handle) = &side.handle {
        public.insert("handle".to_owned(), serde_json::Value::String(handle.clone()));
    }
    Party {
        provider: kind.provider.clone(),
        kind: kind.kind.clone(),
        vars: vars.clone(),
        public,
        secrets: side.secrets.clone(),
        made_up: false,
    }
}
