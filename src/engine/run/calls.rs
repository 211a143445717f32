//! What is wanted becomes a call; what is answered reaches whoever asked.

use super::super::call::{
    Answer, Call, CallId, Fault, Party, Reason, RoleIndex, Subject, Task, Time, Verb, Why,
};
use super::super::capability::Limits;
use super::super::credential::{Machine, Purpose};
use super::super::plan::Acting;
use super::super::queue::{Account, Lane, Taken};
use super::super::scene::{Scene, Want};
use super::{Item, Outstanding, Run};

/// What is done on this machine has no limits but the queue's own.
const LOCAL: Limits =
    Limits { in_flight: u32::MAX, calls: None, revoke: None, refused: None, batch: None };

impl Run {
    pub(super) fn push_local(&mut self, lane: Lane, subject: Option<Subject>, purpose: Purpose) {
        let account = self.queue.account(&Account::local(), &LOCAL);
        let item = self.item(subject, purpose, false);
        self.queue.push(account, lane, item, self.now);
    }

    fn item(&self, subject: Option<Subject>, purpose: Purpose, forbidden: bool) -> Item {
        let machine = subject.and_then(|subject| self.machines.get(subject.0 as usize));
        let mark = machine.map_or(0, |machine| machine.mark(&purpose));
        Item { subject, purpose, mark, forbidden }
    }

    pub(super) fn want(&mut self, subject: Subject, want: Want) {
        if let Purpose::MadeUp(kind, _) = want.purpose
            && let Some(sight) = self.sights.get_mut(&kind)
        {
            sight.flying = true;
        }
        let acting = self.scene(subject, |scene, machine| {
            let address = scene.kind.provider.clone();
            let acting = scene.acting_name(machine, &want.purpose)?;
            let lane = lane(scene, &want);
            let forbidden = lane.forbidden(&scene.kind.limits);
            Some((Account { address, acting }, scene.kind.limits.clone(), (lane, forbidden)))
        });
        match acting.flatten() {
            Some((account, limits, (lane, false))) => {
                let account = self.queue.account(&account, &limits);
                let item = self.item(Some(subject), want.purpose, false);
                self.queue.push(account, lane, item, self.now);
            }
            Some((.., (_, true))) => {
                let account = self.queue.account(&Account::local(), &LOCAL);
                let item = self.item(Some(subject), want.purpose, true);
                self.queue.push(account, want.lane, item, self.now);
            }
            None => self.push_local(want.lane, Some(subject), want.purpose),
        }
    }

    /// The call for an item, or why it cannot be made.
    pub(super) fn make(&self, taken: &Taken<Item>) -> Result<Call, Why> {
        let item = &taken.item;
        if item.forbidden {
            return Err(Reason::Unsupported.into());
        }
        let mut task = self.task(item).ok_or(Reason::MissingValue)?;
        if let (Task::Ask(request), Some(seat)) = (&mut task, taken.seat) {
            seat.batch.mark(&mut request.values);
        }
        let planned = item.subject.and_then(|subject| self.plan.planned(subject));
        let segment = planned.map_or_else(|| "local".to_owned(), |one| one.segment.clone());
        let call =
            Call { subject: item.subject, segment, account: self.queue.name(taken.account), task };
        if self.journal_lost.is_some() && call.makes() {
            return Err(Reason::NotRecorded.into());
        }
        Ok(call)
    }

    fn task(&self, item: &Item) -> Option<Task> {
        match (&item.purpose, item.subject) {
            (Purpose::ReadActor(index), _) => {
                let actor = self.plan.actors.get(*index as usize)?;
                let kind = self.plan.kind(actor.kind)?;
                Some(Task::Read {
                    provider: kind.provider.clone(),
                    kind: kind.kind.clone(),
                    parts: actor.places.clone(),
                })
            }
            (Purpose::Stop(index), _) => {
                let argv = self.plan.roles.get(*index as usize)?.stop.clone()?;
                Some(Task::Stop { role: RoleIndex(*index), argv })
            }
            (Purpose::Preserve(index), _) => {
                let globs = self.plan.roles.get(*index as usize)?.evidence.clone();
                Some(Task::Preserve { role: RoleIndex(*index), globs })
            }
            (Purpose::Scan(index), _) => {
                let search = self.plan.roles.get(*index as usize)?.search.clone()?;
                Some(Task::Scan {
                    role: RoleIndex(*index),
                    files: search.files,
                    home: search.home,
                    named: self.named_places(),
                })
            }
            (purpose, Some(subject)) => {
                self.scene(subject, |scene, machine| scene.task(machine, purpose))?
            }
            (_, None) => None,
        }
    }

    /// Notes that a call has left.
    pub(super) fn leave_for(
        &mut self,
        id: CallId,
        Taken { account, lane, seat, item }: Taken<Item>,
        call: &Call,
    ) {
        let borrowed = self.borrowed(item.subject, call);
        for admin in &borrowed {
            self.tally.borrow(*admin);
        }
        let index = item.subject.map(|subject| subject.0 as usize);
        let machine = index.and_then(|index| self.machines.get_mut(index));
        let attempt = machine.as_ref().map_or(0, |machine| machine.attempts);
        let late = machine.and_then(|machine| machine.sent(&item.purpose, self.now));
        if let (Some(subject), Some(late)) = (item.subject, late) {
            self.wake_in_baseline(subject, late);
        }
        let (harmless, person) = (call.harmless(), call.asks_a_person());
        let call = Outstanding { item, account, lane, seat, harmless, person, borrowed, attempt };
        self.outstanding.insert(id, call);
    }

    /// From here on the revocation waits for an answer, and no longer for a place in line.
    fn wake_in_baseline(&mut self, subject: Subject, late: Time) {
        let hasty = self.plan.mode.contains();
        let waits = self.scene(subject, |scene, machine| scene.in_baseline(machine));
        if hasty && waits == Some(true) {
            let timer = self.timer_of.get(subject.0 as usize).copied().flatten();
            self.set_timer(subject, Some(timer.map_or(late, |timer| timer.min(late))));
        }
    }

    /// Credentials of the run that act in this call with the value that is to be revoked.
    fn borrowed(&self, subject: Option<Subject>, call: &Call) -> Vec<Subject> {
        let Task::Ask(request) = &call.task else { return Vec::new() };
        let takes_part = |name: &String| name.starts_with("admin") || name == "client";
        let planned = subject.and_then(|subject| self.plan.planned(subject));
        let Some(planned) = planned.filter(|_| request.parties.keys().any(takes_part)) else {
            return Vec::new();
        };
        let acting = planned.admins.values().chain(&planned.client);
        let mut borrowed: Vec<_> = acting
            .filter_map(|acting| match acting {
                Acting::Planned(admin) if Some(*admin) != subject => Some(*admin),
                _ => None,
            })
            .filter(|admin| {
                let machine = self.machines.get(admin.0 as usize);
                let acts = |(name, party): (&String, &Party)| {
                    let own = machine.is_some_and(|machine| party.secrets == machine.old.secrets);
                    takes_part(name) && own
                };
                request.parties.iter().any(acts)
            })
            .collect();
        borrowed.sort_unstable();
        borrowed.dedup();
        borrowed
    }

    pub(super) fn answered(&mut self, id: CallId, answer: Answer) {
        let Some(call) = self.outstanding.remove(&id) else {
            self.answered_after_all(id, answer);
            return;
        };
        self.queue.answered(call.account, call.seat, self.now);
        let index = call.item.subject.map(|subject| subject.0 as usize);
        if let Some(machine) = index.and_then(|index| self.machines.get_mut(index)) {
            machine.is_back(&call.item.purpose);
        }
        for admin in &call.borrowed {
            if self.tally.give_back(*admin) {
                self.dirty.insert(*admin);
            }
        }
        match &answer {
            Answer::Fault(Fault::Throttled(wait)) => {
                self.queue.throttle(call.account, call.seat, *wait, self.now);
            }
            Answer::Fault(Fault::Unknown(_)) if !call.harmless => {
                self.unknown.insert(id, call.clone());
            }
            Answer::Fault(_) => {}
            _ => self.queue.recovered(call.account),
        }
        // Told to wait, the same is asked again as it stands; the account's pause holds it back.
        if matches!(answer, Answer::Fault(Fault::Throttled(_)))
            && repeats(&call.item.purpose)
            && let Some(subject) = call.item.subject
        {
            let machine = self.machines.get(subject.0 as usize);
            if machine.is_some_and(|machine| machine.wants(&call.item.purpose, call.item.mark)) {
                self.want(subject, Want::repeat(&call.item.purpose, call.lane));
            } else if let Some(machine) = self.machines.get_mut(subject.0 as usize) {
                machine.dropped(&call.item.purpose);
            }
            return;
        }
        self.take(id, &call.item, answer);
    }

    /// Brings an answer to whoever asked.
    pub(super) fn take(&mut self, id: CallId, item: &Item, answer: Answer) {
        match (&item.purpose, item.subject) {
            (Purpose::ReadActor(index), _) => self.took_actor(*index, id, answer),
            (Purpose::Stop(index), _) => self.role_stopped(*index, answer),
            (Purpose::Preserve(index), _) => self.role_preserved(*index, answer),
            (Purpose::Scan(index), _) => self.role_scanned(*index, answer),
            (Purpose::MadeUp(kind, _), Some(subject)) => self.took_sight(*kind, subject, answer),
            (Purpose::List { list, after }, Some(leader)) => {
                self.took_list((*list, *after), leader, answer);
            }
            (purpose @ Purpose::RevokeStranger { .. }, Some(heir)) => {
                self.took_stranger(purpose, heir, answer);
            }
            (purpose, Some(subject)) => {
                let mut wants = Vec::new();
                self.with_machine(subject, |machine, scene| {
                    machine.answered(scene, (id, item.mark), purpose, answer, &mut wants);
                });
                for want in wants {
                    self.want(subject, want);
                }
                self.changed(subject);
            }
            (_, None) => {}
        }
    }

    fn answered_after_all(&mut self, id: CallId, answer: Answer) {
        let Some(call) = self.unknown.remove(&id) else { return };
        let Some(subject) = call.item.subject else { return };
        self.with_machine(subject, |machine: &mut Machine, scene| {
            let purpose = &call.item.purpose;
            machine.answered_after_all(scene, id.into(), purpose, call.attempt, answer);
        });
        self.changed(subject);
    }

    fn changed(&mut self, subject: Subject) {
        self.learn_handles(subject);
        self.dirty.insert(subject);
        let closed = self.machines.get(subject.0 as usize).is_some_and(|machine| machine.closed);
        // One that has left is not asked again; who waits for it is.
        if closed {
            self.wake_dependants(subject);
        }
    }
}

/// The lane of something that is wanted: what its provider ends many of in one request goes with
/// the others.
fn lane(scene: &Scene<'_>, want: &Want) -> Lane {
    let Purpose::Revoke { way, .. } = want.purpose else { return want.lane };
    let way = scene.ways(Verb::Revoke).get(usize::from(way));
    match scene.kind.limits.batch {
        Some(_) if way.is_some_and(|way| way.batch) => Lane::KillTogether,
        _ => want.lane,
    }
}

/// Purposes whose throttled answer is asked again as it stands; the others ask by themselves.
fn repeats(purpose: &Purpose) -> bool {
    matches!(
        purpose,
        Purpose::Baseline(_)
            | Purpose::Learn(_)
            | Purpose::Find
            | Purpose::ProbeOld(_)
            | Purpose::ProbeControl(_)
            | Purpose::Read
    )
}

impl Call {
    /// The verb, for a call to a provider.
    pub fn verb(&self) -> Option<Verb> {
        match &self.task {
            Task::Ask(request) => Some(request.at.verb),
            _ => None,
        }
    }
}
