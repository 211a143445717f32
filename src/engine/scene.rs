//! What a credential's machine may see of its run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::call::{Party, Reason, RoleIndex, Subject, Time, Verb, Wall, Why};
use super::capability::{Actor, StepCapability};
use super::credential::{Issued, Machine, Side, Try};
use super::plan::{Acting, Phase, Plan, Planned, PlannedKind};
use super::queue::Lane;
use super::verdict::Sight;

/// A credential that acts without being rotated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActorState {
    /// Reading it.
    pub read: Try,
    /// What was read.
    pub side: Side,
}

/// The agent of a role, and its evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleState {
    /// Ending the agent.
    pub stop: Try,
    /// When it was ended.
    pub stopped_at: Option<Wall>,
    /// Saving the evidence.
    pub preserve: Try,
    /// The archive and its SHA-256.
    pub archive: Option<(String, String)>,
    /// What could not be saved.
    pub gaps: Vec<String>,
    /// How often stop or preserve was tried.
    pub tries: u32,
}

/// The negative control of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SightState {
    /// What it showed; none until it is settled.
    pub sight: Option<Sight>,
    /// A made-up credential is under way.
    pub flying: bool,
    /// Layers of the probe.
    pub layers: super::credential::Layers,
    /// Unclear answers so far.
    pub unclear: u32,
    /// Not before.
    pub next: Time,
    /// Who waits for it.
    pub waiting: BTreeSet<Subject>,
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
    pub(super) sight: Option<&'a SightState>,
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

    /// The new one once it is proved, the old one until then.
    fn of_run(&self, subject: Subject) -> Result<Party, Ready> {
        let unreadable = || Ready::Never(Reason::Unreadable.into());
        let planned = self.plan.planned(subject).ok_or_else(unreadable)?;
        let machine = self.machines.get(subject.0 as usize).ok_or_else(unreadable)?;
        let kind = self.plan.kind(planned.kind).ok_or_else(unreadable)?;
        if machine.new_identity.is_some() {
            return Ok(party(kind, &planned.vars, &machine.new));
        }
        match &machine.read {
            Try::Done => Ok(party(kind, &planned.vars, &machine.old)),
            Try::Failed(why) => Err(Ready::Never(why.clone())),
            Try::Todo | Try::Flying => Err(Ready::Later),
        }
    }

    /// The admin of this name; where only one is given it serves for every name.
    pub(super) fn admin(&self, name: &str) -> Option<Acting> {
        let admins = &self.planned.admins;
        admins
            .get(name)
            .or_else(|| admins.get(""))
            .copied()
            .or_else(|| if admins.len() == 1 { admins.values().next().copied() } else { None })
    }

    /// The party that stands under a name in a step's markers.
    pub(super) fn party(&self, machine: &Machine, name: &str) -> Result<Party, Ready> {
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
            ("live", _) => self.party(machine, "old"),
            ("admin", tail) => self.acting(self.admin(tail).ok_or_else(missing)?),
            ("client", _) => self.acting(self.planned.client.ok_or_else(missing)?),
            _ => Err(missing()),
        }
    }

    /// Whether a step can be made now, as far as its parties and public values go.
    pub(super) fn ready(&self, machine: &Machine, verb: Verb, step: &StepCapability) -> Ready {
        let mut later = false;
        for name in names(step) {
            match self.party(machine, &name) {
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
            if !machine.read.settled()
                || machine.learn == Try::Flying
                || machine.find == Try::Flying
                || machine.look == Try::Flying
            {
                later = true;
            } else {
                return Ready::Never(Reason::MissingValue.into());
            }
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
            || (name == "handle" && (side.handle.is_some() || makes(verb)))
            || (name == "who" && machine.identity.is_some())
            || (matches!(head, "ttl" | "expires") && self.planned.ttl_ms.is_some())
            || head == "jwt"
            // A step of a making verb takes what its later steps need.
            || (makes(verb) && machine.steps.step > 0)
    }

    /// Whether this credential's role may be written to: its agent is ended and its evidence
    /// saved, or nobody named a way.
    pub(super) fn role_quiet(&self) -> Ready {
        let RoleIndex(index) = self.planned.role;
        let Some(role) = self.roles.get(index as usize) else { return Ready::Now };
        match (&role.stop, &role.preserve) {
            (Try::Done, Try::Done) => Ready::Now,
            (Try::Failed(why), _) | (_, Try::Failed(why)) => Ready::Never(why.clone()),
            _ => Ready::Later,
        }
    }

    /// Whether no call of those that need this one as their admin is under way.
    pub(super) fn nobody_uses_it_now(&self) -> bool {
        self.planned.serves.iter().all(|subject| {
            self.machines.get(subject.0 as usize).is_none_or(|machine| !machine.steps.flying)
        })
    }

    /// Whether every credential that needs this one as its admin has made its last call.
    pub(super) fn no_longer_needed(&self) -> bool {
        self.planned.serves.iter().all(|subject| {
            let Some(planned) = self.plan.planned(*subject) else { return true };
            let Some(machine) = self.machines.get(subject.0 as usize) else { return true };
            match machine.phase(&planned.phases) {
                None | Some(Phase::ProveOld | Phase::Sweep) => true,
                Some(Phase::ProveNew | Phase::Deliver) => {
                    !planned.phases[usize::from(machine.at)..].contains(&Phase::Revoke)
                }
                Some(_) => false,
            }
        })
    }
}

fn makes(verb: Verb) -> bool {
    matches!(verb, Verb::Issue | Verb::Roll)
}

/// Every party of a step, its actor included.
pub(super) fn names(step: &StepCapability) -> Vec<String> {
    let mut names = step.parties.clone();
    let actor = match &step.actor {
        Actor::Old => Some("old".to_owned()),
        Actor::New => Some("new".to_owned()),
        Actor::Live => Some("live".to_owned()),
        Actor::Client => Some("client".to_owned()),
        Actor::Admin(None) => Some("admin".to_owned()),
        Actor::Admin(Some(name)) => Some(format!("admin.{name}")),
        Actor::It | Actor::None => None,
    };
    names.extend(actor);
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

impl Machine {
    /// Whether a new one is there to be used.
    pub(super) fn has_new(&self) -> bool {
        self.issued == Issued::Yes
    }
}
