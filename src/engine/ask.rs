//! Calls made from what is known at the moment they are sent.

use std::collections::BTreeMap;

use serde_json::Value;

use super::call::{At, Call, Delivery, Party, Request, Task, Values, Verb};
use super::capability::StepCapability;
use super::client::Whose;
use super::credential::{BASELINE_MS, ControlKind, Machine, Purpose, Side};
use super::plan::Acting;
use super::report::Mode;
use super::scene::{Ready, Scene, names, party};

/// How long a provider may take to answer: a slow list page of a large account, and well below
/// the minute after which proxies cut connections.
const DEADLINE_MS: u64 = 20_000;

impl Scene<'_> {
    /// The task for a purpose; none if a party is not at hand.
    pub(super) fn task(&self, machine: &Machine, purpose: &Purpose) -> Option<Task> {
        let ask = |verb, way, step| self.ask(machine, verb, way, step, None);
        match purpose {
            Purpose::Read => Some(self.read()),
            Purpose::Generate => Some(Task::Generate {
                provider: self.kind.provider.clone(),
                kind: self.kind.kind.clone(),
            }),
            Purpose::Baseline(layer) => {
                // A kill that cannot go without what it tells waits for it, once it has failed.
                let hasty = self.plan.mode.contains() && machine.look_failures.count == 0;
                let deadline = if hasty { BASELINE_MS } else { DEADLINE_MS };
                self.use_it(machine, *layer, (self.old(machine)?, Whose::Old), deadline)
            }
            Purpose::ProbeOld(layer) => {
                self.use_it(machine, *layer, (self.old(machine)?, Whose::Old), DEADLINE_MS)
            }
            Purpose::ProbeNew(layer) => {
                self.use_it(machine, *layer, (self.new_one(machine)?, Whose::New), DEADLINE_MS)
            }
            Purpose::ProbeControl(layer) => {
                self.use_it(machine, *layer, self.control(machine)?, DEADLINE_MS)
            }
            Purpose::MadeUp(_, layer) => {
                let mut it = self.old(machine)?;
                it.made_up = true;
                self.use_it(machine, *layer, (it, Whose::Old), DEADLINE_MS)
            }
            Purpose::Learn(step) => ask(Verb::Learn, 0, *step),
            Purpose::Find | Purpose::LookForIssued | Purpose::List { .. } => ask(Verb::Find, 0, 0),
            Purpose::Issue { way, step } => ask(Verb::Issue, *way, *step),
            Purpose::Roll { way, step } => ask(Verb::Roll, *way, *step),
            Purpose::Finish { way, step } => ask(Verb::Finish, *way, *step),
            Purpose::Revoke { way, step } => ask(Verb::Revoke, *way, *step),
            Purpose::Evict { way, step } => ask(Verb::Evict, *way, *step),
            Purpose::RevokeOrphan { handle, way, step }
            | Purpose::RevokeStranger { handle, way, step, .. } => {
                self.ask(machine, Verb::Revoke, *way, *step, Some(handle))
            }
            Purpose::Deliver => Some(self.delivery(machine)),
            Purpose::ReadActor(_) | Purpose::Stop(_) | Purpose::Preserve(_) | Purpose::Scan(_) => {
                None
            }
        }
    }

    /// Who acts in a call, as far as limits go.
    pub(super) fn acting_name(&self, machine: &Machine, purpose: &Purpose) -> Option<String> {
        let id = &self.planned.id;
        let (verb, way, step) = match purpose {
            Purpose::Read | Purpose::Generate | Purpose::Deliver => return None,
            Purpose::Baseline(_) | Purpose::ProbeOld(_) => return Some(format!("old:{id}")),
            Purpose::ProbeNew(_) => return Some(format!("new:{id}")),
            Purpose::MadeUp(..) => return Some("made-up".to_owned()),
            // An hour's wait for a person must not take a place from what ends something.
            Purpose::Issue { way, .. } if self.waits_for_a_person(*way) => {
                return Some(format!("person:{id}"));
            }
            Purpose::ProbeControl(_) => {
                return Some(match machine.control {
                    ControlKind::New | ControlKind::None => format!("new:{id}"),
                    ControlKind::Named => self.name_of(self.planned.control),
                    ControlKind::Admin => self.name_of(self.admin("")),
                });
            }
            Purpose::Learn(step) => (Verb::Learn, 0, *step),
            Purpose::Find | Purpose::LookForIssued | Purpose::List { .. } => (Verb::Find, 0, 0),
            Purpose::Issue { way, step } => (Verb::Issue, *way, *step),
            Purpose::Roll { way, step } => (Verb::Roll, *way, *step),
            Purpose::Finish { way, step } => (Verb::Finish, *way, *step),
            Purpose::Revoke { way, step }
            | Purpose::RevokeOrphan { way, step, .. }
            | Purpose::RevokeStranger { way, step, .. } => (Verb::Revoke, *way, *step),
            Purpose::Evict { way, step } => (Verb::Evict, *way, *step),
            Purpose::ReadActor(_) | Purpose::Stop(_) | Purpose::Preserve(_) | Purpose::Scan(_) => {
                return None;
            }
        };
        use super::capability::Actor;
        Some(match &self.step(verb, way, step)?.actor {
            Actor::Old | Actor::It => format!("old:{id}"),
            Actor::New | Actor::Live => format!("new:{id}"),
            Actor::Admin(name) => self.name_of(self.admin(name.as_deref().unwrap_or(""))),
            Actor::Client => self.name_of(self.planned.client),
            Actor::None => "nobody".to_owned(),
        })
    }

    fn name_of(&self, acting: Option<Acting>) -> String {
        let named = match acting {
            Some(Acting::Fixed(index)) => {
                self.plan.actors.get(index as usize).map(|actor| actor.id.clone())
            }
            Some(Acting::Planned(subject)) => {
                self.plan.planned(subject).map(|planned| planned.id.clone())
            }
            None => None,
        };
        named.unwrap_or_else(|| "nobody".to_owned())
    }

    fn read(&self) -> Task {
        Task::Read {
            provider: self.kind.provider.clone(),
            kind: self.kind.kind.clone(),
            parts: self.planned.places.clone(),
        }
    }

    fn old(&self, machine: &Machine) -> Option<Party> {
        self.party(machine, "old", Whose::Old).ok()
    }

    fn new_one(&self, machine: &Machine) -> Option<Party> {
        self.party(machine, "new", Whose::New).ok()
    }

    fn control(&self, machine: &Machine) -> Option<(Party, Whose)> {
        match machine.control {
            ControlKind::New => Some((self.new_one(machine)?, Whose::New)),
            ControlKind::Named => {
                let acting = self.planned.control?;
                // One of the run is a control once it is new.
                let whose = match acting {
                    Acting::Planned(_) => Whose::New,
                    Acting::Fixed(_) => Whose::Old,
                };
                Some((self.acting(acting).ok()?, whose))
            }
            ControlKind::Admin => Some((self.acting(self.admin("")?).ok()?, Whose::Old)),
            ControlKind::None => None,
        }
    }

    fn use_it(
        &self,
        machine: &Machine,
        layer: u16,
        (it, whose): (Party, Whose),
        deadline_ms: u64,
    ) -> Option<Task> {
        let step = self.step(Verb::Probe, layer, 0)?;
        let mut parties = self.parties(machine, step, whose).ok()?;
        let mut values = self.public_values(machine);
        values.extend(it.public.clone());
        parties.insert("it".to_owned(), it);
        // Which of them is used is told from the others by whoever watches.
        if let Some(new) = self.new_one(machine) {
            parties.entry("new".to_owned()).or_insert(new);
        }
        let at = self.at(Verb::Probe, layer, 0);
        Some(Task::Ask(Request { at, parties, values, deadline_ms }))
    }

    pub(super) fn waits_for_a_person(&self, way: u16) -> bool {
        self.ways(Verb::Issue).get(usize::from(way)).is_some_and(|way| way.person)
    }

    fn ask(
        &self,
        machine: &Machine,
        verb: Verb,
        way: u16,
        step: u16,
        handle: Option<&String>,
    ) -> Option<Task> {
        let parties = self.parties(machine, self.step(verb, way, step)?, verb.into()).ok()?;
        let mut values = self.public_values(machine);
        let subject = match verb {
            Verb::Issue | Verb::Roll => &machine.new,
            _ => &machine.old,
        };
        values.extend(with_handle(subject));
        // A roll begins at the old one: its id is the one that is renewed.
        let rolled =
            (verb == Verb::Roll && subject.handle.is_none()).then_some(&machine.old.handle);
        if let Some(handle) = handle.or(rolled.and_then(Option::as_ref)) {
            values.insert("handle".to_owned(), Value::String(handle.clone()));
        }
        let at = self.at(verb, way, step);
        let person = verb == Verb::Issue && self.waits_for_a_person(way);
        let deadline_ms = if person { Call::PERSON_MS } else { DEADLINE_MS };
        Some(Task::Ask(Request { at, parties, values, deadline_ms }))
    }

    fn parties(
        &self,
        machine: &Machine,
        step: &StepCapability,
        whose: Whose,
    ) -> Result<BTreeMap<String, Party>, Ready> {
        let mut parties = BTreeMap::new();
        // The one being probed is put in by whoever says which it is.
        for name in names(step).into_iter().filter(|name| name != "it") {
            // What this very step makes is not there yet.
            match self.party(machine, &name, whose) {
                Ok(party) => {
                    parties.insert(name, party);
                }
                Err(_) if name == "new" => {}
                Err(not_ready) => return Err(not_ready),
            }
        }
        // The old one stands by for hints and echo checks wherever it was read.
        if let Some(old) = self.old(machine) {
            parties.entry("old".to_owned()).or_insert(old);
        }
        Ok(parties)
    }

    fn public_values(&self, machine: &Machine) -> Values {
        let mut values = self.planned.vars.clone();
        values.extend(machine.taken.clone());
        values.remove("handle");
        let text = |text: &str| Value::String(text.to_owned());
        values.insert("label".to_owned(), text(&self.label(machine.attempts)));
        if !self.planned.scopes.is_empty() {
            let scopes = self.planned.scopes.iter().map(|scope| text(scope)).collect();
            values.insert("scopes".to_owned(), Value::Array(scopes));
        }
        if let Some(ttl) = self.planned.ttl_ms {
            values.insert("ttl".to_owned(), ttl.into());
        }
        if let Some(who) = machine.identity.as_ref().filter(|who| !who.0.is_empty()) {
            values.insert("who".to_owned(), text(&who.0));
        }
        values.insert("grace".to_owned(), self.grace_ms().into());
        values
    }

    /// Zero in contain, always. A rehearsal needs as long as a delivery may take.
    fn grace_ms(&self) -> u64 {
        const REHEARSAL_GRACE_MS: u64 = 3_600_000;
        if self.plan.mode == Mode::Rehearse { REHEARSAL_GRACE_MS } else { 0 }
    }

    fn delivery(&self, machine: &Machine) -> Task {
        let old = (!machine.old.secrets.is_empty())
            .then(|| party(self.kind, &self.planned.vars, &machine.old));
        let print = Some(&machine.old.fingerprint).filter(|it| old.is_none() && !it.is_empty());
        Task::Deliver(Box::new(Delivery {
            new: party(self.kind, &self.planned.vars, &machine.new),
            old_fingerprint: print.cloned(),
            old,
            places: self.planned.deliver_to.clone(),
            written: machine.placed.iter().map(|place| place.to.clone()).collect(),
            // Practice leaves no role with two of them: where one place is not written, none is.
            whole: self.plan.mode == Mode::Rehearse,
            reload: self.planned.reload.clone(),
            read_on_use: self.planned.read_on_use,
        }))
    }

    fn at(&self, verb: Verb, way: u16, step: u16) -> At {
        At { provider: self.kind.provider.clone(), kind: self.kind.kind.clone(), verb, way, step }
    }
}

fn with_handle(side: &Side) -> Values {
    let mut values = side.public.clone();
    if let Some(handle) = &side.handle {
        values.insert("handle".to_owned(), Value::String(handle.clone()));
    }
    values
}
