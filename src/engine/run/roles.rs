//! What is done to a role as a whole, and the credentials that act without being rotated.

use super::super::call::{Answer, CallId, Fault, Reason, RoleIndex, Why};
use super::super::credential::{Purpose, Side, Try};
use super::super::plan::Acting;
use super::super::queue::Lane;
use super::{Run, number, subjects};
use crate::inventory::SecretRef;

/// How often the agent's end, the evidence and the reading of an admin are tried when nobody knows
/// what came of it: a crash may have cut the first short.
const TRIES: u32 = 3;

impl Run {
    pub(super) fn begin_roles(&mut self) {
        for (state, role) in self.roles.iter_mut().zip(&self.plan.roles) {
            state.stop = if role.stop.is_some() { Try::Todo } else { Try::Done };
            state.preserve = if role.evidence.is_empty() { Try::Done } else { Try::Todo };
            let looks = role.search.as_ref().is_some_and(|it| !it.is_empty());
            state.scan = if looks { Try::Todo } else { Try::Done };
        }
        self.role_calls();
    }

    /// Asks for what is still to be done to the roles.
    pub(super) fn role_calls(&mut self) {
        let mut wanted = Vec::new();
        for (index, role) in self.roles.iter_mut().enumerate() {
            if role.stop == Try::Todo {
                role.stop = Try::Flying;
                wanted.push((Lane::Need, Purpose::Stop(number(index))));
            }
            if role.preserve == Try::Todo {
                role.preserve = Try::Flying;
                wanted.push((Lane::Need, Purpose::Preserve(number(index))));
            }
            if role.scan == Try::Todo {
                role.scan = Try::Flying;
                // Everything else is more urgent.
                wanted.push((Lane::Sweep, Purpose::Scan(number(index))));
            }
        }
        for (lane, purpose) in wanted {
            self.push_local(lane, None, purpose);
        }
    }

    pub(super) fn role_stopped(&mut self, index: u32, answer: Answer) {
        let wall = self.wall;
        if let Some(role) = self.roles.get_mut(index as usize) {
            role.stops += 1;
            role.stop = match answer {
                Answer::Done => {
                    role.stopped_at = Some(wall);
                    Try::Done
                }
                other => not_done(other, role.stops),
            };
        }
        self.role_changed(index);
    }

    pub(super) fn role_preserved(&mut self, index: u32, answer: Answer) {
        if let Some(role) = self.roles.get_mut(index as usize) {
            role.preserves += 1;
            role.preserve = match answer {
                Answer::Saved { archive, sha256, gaps } => {
                    role.archive = Some((archive, sha256));
                    role.gaps = gaps;
                    Try::Done
                }
                other => not_done(other, role.preserves),
            };
        }
        self.role_changed(index);
    }

    pub(super) fn role_scanned(&mut self, index: u32, answer: Answer) {
        if let Some(role) = self.roles.get_mut(index as usize) {
            role.scans += 1;
            role.scan = match answer {
                Answer::Scanned(scanned) => {
                    role.scanned = scanned;
                    Try::Done
                }
                other => not_done(other, role.scans),
            };
        }
        self.role_changed(index);
    }

    /// Places that entries of the inventory name, be they of this run or not.
    pub(super) fn named_places(&self) -> Vec<SecretRef> {
        let own = self.plan.places().into_iter();
        own.chain(&self.plan.named_elsewhere).cloned().collect()
    }

    /// A delivery may have been waiting for it.
    fn role_changed(&mut self, index: u32) {
        if !self.stopping && !self.left {
            self.role_calls();
        }
        let all = subjects(self.machines.len()).zip(&self.plan.credentials);
        let of_role = all.filter(|(_, planned)| planned.role == Some(RoleIndex(index)));
        self.dirty.extend(of_role.map(|(subject, _)| subject));
    }

    pub(super) fn read_actor(&mut self, index: usize) {
        let planned = self.plan.actors.get(index);
        let nothing = planned.filter(|actor| actor.places.is_empty()).and_then(|actor| {
            self.plan.kind(actor.kind).filter(|kind| kind.can.parts.is_empty()).map(|_| actor)
        });
        if let Some(actor) = self.actors.get_mut(index) {
            // What a machine is by itself has no place to be read from.
            if let Some(planned) = nothing {
                actor.side.handle.clone_from(&planned.handle);
                actor.read = Try::Done;
                return;
            }
            actor.reading();
            self.push_local(Lane::Need, None, Purpose::ReadActor(number(index)));
        }
    }

    pub(super) fn took_actor(&mut self, index: u32, id: CallId, answer: Answer) {
        let planned = self.plan.actors.get(index as usize);
        let (Some(actor), Some(planned)) = (self.actors.get_mut(index as usize), planned) else {
            return;
        };
        match answer {
            Answer::Held(holding) => {
                actor.side = Side { handle: planned.handle.clone(), ..Side::default() };
                actor.side.absorb(id.into(), &holding);
                actor.read = Try::Done;
                let kind = self.plan.kind(planned.kind);
                let handle = actor.side.handle.clone();
                if let (Some(kind), Some(handle)) = (kind, handle) {
                    self.known.entry(kind.provider.clone()).or_default().insert(handle);
                }
            }
            other => {
                actor.read = not_done(other, actor.reads);
                if actor.read == Try::Todo {
                    self.read_actor(index as usize);
                    return;
                }
            }
        }
        let acts = |acting: &Acting| *acting == Acting::Fixed(index);
        let all = subjects(self.machines.len()).zip(&self.plan.credentials);
        let users = all.filter(|(_, planned)| {
            let control = planned.control.iter();
            planned.admins.values().chain(&planned.client).chain(control).any(acts)
        });
        self.dirty.extend(users.map(|(subject, _)| subject));
    }
}

/// Tried again where nobody knows whether it was done, failed where somebody does.
fn not_done(answer: Answer, tries: u32) -> Try {
    match answer {
        Answer::Fault(Fault::Unknown(_) | Fault::NotSent(_) | Fault::Throttled(_))
            if tries < TRIES =>
        {
            Try::Todo
        }
        Answer::Fault(Fault::Refused(why) | Fault::NotSent(why) | Fault::Unknown(why)) => {
            Try::Failed(why)
        }
        _ => Try::Failed(Why::from(Reason::Unexpected)),
    }
}
