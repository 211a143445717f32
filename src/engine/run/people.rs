//! What a person says, and what happens when a process leaves or takes a run up again.

use std::collections::BTreeSet;

use super::super::call::Subject;
use super::super::credential::{Purpose, Standing, Steps, Try};
use super::super::plan::Phase;
use super::super::report::Revoke;
use super::{Item, Run, subjects};

impl Run {
    /// Begins nothing new; what is being ended is ended.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for subject in subjects(self.machines.len()) {
            self.advance(subject);
        }
        let kept: BTreeSet<Subject> = subjects(self.machines.len())
            .filter(|one| self.machines.get(one.0 as usize).is_some_and(|it| !it.closed))
            .collect();
        self.empty_line(|item| item.subject.is_some_and(|subject| kept.contains(&subject)));
    }

    /// `--wait` is over.
    pub(super) fn leave_all(&mut self) {
        self.left = true;
        for machine in &mut self.machines {
            machine.leave();
        }
        self.open = 0;
        self.timers.clear();
        self.timer_of.fill(None);
    }

    /// Takes everything out of the line for which `keep` is false, and tells whoever asked for it.
    pub(super) fn empty_line(&mut self, keep: impl Fn(&Item) -> bool) {
        for item in self.queue.take_out(self.now, keep) {
            match (&item.purpose, item.subject) {
                (Purpose::ReadActor(index), _) => {
                    if let Some(actor) = self.actors.get_mut(*index as usize) {
                        actor.read = Try::Todo;
                    }
                }
                (Purpose::Stop(index), _) => {
                    if let Some(role) = self.roles.get_mut(*index as usize) {
                        role.stop = Try::Todo;
                    }
                }
                (Purpose::Preserve(index), _) => {
                    if let Some(role) = self.roles.get_mut(*index as usize) {
                        role.preserve = Try::Todo;
                    }
                }
                (Purpose::Scan(index), _) => {
                    if let Some(role) = self.roles.get_mut(*index as usize) {
                        role.scan = Try::Todo;
                    }
                }
                (Purpose::MadeUp(kind, _), _) => {
                    if let Some(sight) = self.sights.get_mut(kind) {
                        sight.flying = false;
                    }
                }
                (Purpose::List { list, after }, _) => self.lists.dropped(*list, *after),
                (Purpose::RevokeStranger { list, handle, .. }, _) => {
                    self.dropped_stranger(*list, handle);
                }
                (purpose, Some(subject)) => {
                    if let Some(machine) = self.machines.get_mut(subject.0 as usize)
                        && machine.is_marked(purpose, item.mark)
                    {
                        machine.dropped(purpose);
                    }
                }
                (_, None) => {}
            }
        }
    }

    /// A person says that it is done: prove it again from the beginning. One that was stopped
    /// before that goes on from where it was: its new one is not made by anybody's word. A run that
    /// is leaving does so once it is taken up again.
    pub(super) fn hand_done(&mut self, subject: Subject) {
        let (now, wall) = (self.now, self.wall);
        let Some(planned) = self.plan.credentials.get(subject.0 as usize) else { return };
        let at = planned.phases.iter().position(|phase| *phase == Phase::ProveOld);
        let Some(machine) = self.machines.get_mut(subject.0 as usize) else { return };
        // No probe sees what was left of it: a person's word is all there is.
        machine.half_revoked = None;
        let Some(at) = at else { return };
        machine.done_by_hand = true;
        machine.stopped_before_revoke = None;
        machine.revoke = Revoke::Accepted;
        machine.revoked = Some((now, wall));
        machine.prove_again(now);
        let beyond = usize::from(machine.at) > at;
        if beyond || machine.closed {
            if machine.closed && !self.left {
                machine.closed = false;
                self.open += 1;
            }
            if beyond {
                machine.at = u16::try_from(at).unwrap_or(u16::MAX);
            }
            machine.epoch += 1;
            machine.since = now;
            machine.steps = Steps::default();
        }
        self.dirty.insert(subject);
    }

    /// A process has taken the run up: what was left is gone on with, what is harmless and has no
    /// answer is asked again, and no refusal from before counts.
    pub(super) fn resume(&mut self) {
        self.resumed += 1;
        self.stopping = false;
        self.left = false;
        self.wait_from = self.now;
        self.reopen();
        let now = self.now;
        for machine in &mut self.machines {
            machine.proof_resumed(now);
        }
        let again: Vec<_> = self
            .outstanding
            .iter()
            .filter(|(_, call)| call.harmless)
            .map(|(id, call)| (*id, call.clone()))
            .collect();
        for (id, call) in again {
            self.outstanding.remove(&id);
            self.queue.answered(call.account, call.seat, self.now);
            for admin in &call.borrowed {
                self.tally.give_back(*admin);
            }
            // A proof is begun anew, layer by layer.
            if call.item.purpose.standing() == Standing::Proof {
                continue;
            }
            let index = call.item.subject.map(|subject| subject.0 as usize);
            let machine = index.and_then(|index| self.machines.get_mut(index));
            let (purpose, mark) = (&call.item.purpose, call.item.mark);
            if machine.is_none_or(|machine| machine.interrupted(purpose, mark)) {
                self.queue.push(call.account, call.lane, call.item, self.now);
            }
        }
        for index in 0..self.actors.len() {
            if self.actors.get(index).is_some_and(|actor| actor.read == Try::Todo) {
                self.read_actor(index);
            }
        }
        self.role_calls();
        self.dirty.extend(subjects(self.machines.len()));
        for subject in subjects(self.machines.len()) {
            self.wake_dependants(subject);
        }
    }

    /// What was left is taken up again, at the beginning of its phase as far as time goes: nobody
    /// tried anything meanwhile.
    fn reopen(&mut self) {
        let phases = self.plan.credentials.iter().map(|planned| planned.phases.len());
        for (machine, phases) in self.machines.iter_mut().zip(phases) {
            let through = usize::from(machine.at) >= phases;
            if machine.closed && !through {
                machine.closed = false;
                machine.since = self.now;
                self.open += 1;
            }
            machine.unreached = None;
        }
    }
}
