//! A run: all machines, their dependencies and limits. Events in, calls out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::call::{
    Answer, Call, CallId, Event, Fault, Liveness, Reason, RoleIndex, Row, SecretId, Subject, Task,
    Time, Told, Verb, Wall, What,
};
use super::capability::Class;
use super::credential::{Layers, Machine, Purpose, Side, Try, liveness};
use super::plan::{Phase, Plan};
use super::queue::{Account, Lane, Queue};
use super::report::Revoke;
use super::scene::{ActorState, Ready, RoleState, Scene, SightState, Want};
use super::sweep::{Listing, Lists};
use super::verdict::{Before, Sight};

/// How often the negative control is tried when it gets no clear answer.
const SIGHT_TRIES: u32 = 5;

/// Between two such tries, milliseconds.
const SIGHT_PAUSE_MS: u64 = 2_000;

/// How often the agent's end and the evidence are tried: a crash may have cut the first short.
const ROLE_TRIES: u32 = 2;

/// An event that cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The run has not begun.
    #[error("the run has not begun")]
    NotStarted,
    /// The run has begun already.
    #[error("the run has begun already")]
    StartedTwice,
    /// Time went back.
    #[error("time went back from {} ms to {} ms", from.0, to.0)]
    TimeWentBack {
        /// The last event's.
        from: Time,
        /// This one's.
        to: Time,
    },
    /// No such call was ever made.
    #[error("call {} was never made", .0.0)]
    UnknownCall(CallId),
    /// No such credential.
    #[error("credential {} is not in the plan", .0.0)]
    UnknownSubject(Subject),
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outstanding {
    subject: Option<Subject>,
    purpose: Purpose,
    account: usize,
    lane: Lane,
    harmless: bool,
}

/// Something in line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    subject: Option<Subject>,
    purpose: Purpose,
}

/// A run: deterministic, without clock, disk, network or secret. Round-trips through JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub(super) plan: Plan,
    pub(super) machines: Vec<Machine>,
    pub(super) actors: Vec<ActorState>,
    pub(super) roles: Vec<RoleState>,
    sights: BTreeMap<u32, SightState>,
    pub(super) lists: Lists,
    queue: Queue<Item>,
    outstanding: BTreeMap<CallId, Outstanding>,
    #[serde(with = "super::pairs")]
    timers: BTreeMap<(Time, Subject), ()>,
    timer_of: Vec<Option<Time>>,
    dirty: BTreeSet<Subject>,
    open: usize,
    next_call: u64,
    pub(super) now: Time,
    pub(super) wall: Wall,
    pub(super) started: Option<Wall>,
    pub(super) closed_at: Option<Wall>,
    pub(super) resumed: u32,
    pub(super) stopping: bool,
    pub(super) journal_lost: Option<Wall>,
    left: bool,
}

impl Run {
    /// A run that has not begun.
    pub fn new(plan: Plan) -> Self {
        let machines: Vec<_> = plan.credentials.iter().map(Machine::begin).collect();
        let lists = Lists::of(&plan);
        Self {
            actors: vec![ActorState::default(); plan.actors.len()],
            roles: plan.roles.iter().map(|_| RoleState::default()).collect(),
            timer_of: vec![None; machines.len()],
            open: machines.len(),
            machines,
            lists,
            plan,
            sights: BTreeMap::new(),
            queue: Queue::default(),
            outstanding: BTreeMap::new(),
            timers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            next_call: 1,
            now: Time(0),
            wall: Wall(0),
            started: None,
            closed_at: None,
            resumed: 0,
            stopping: false,
            journal_lost: None,
            left: false,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The time of the last event.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether nothing is left to do, and nothing is under way.
    pub fn is_done(&self) -> bool {
        let settled = |role: &RoleState| role.stop.settled() && role.preserve.settled();
        self.started.is_some()
            && self.open == 0
            && self.outstanding.is_empty()
            && (self.left || self.stopping || self.roles.iter().all(settled))
    }

    /// Whether a person stopped it before it was through.
    pub fn was_stopped(&self) -> bool {
        self.stopping
    }

    /// The calls that have no answer yet and may have changed something.
    pub fn unanswered(&self) -> Vec<CallId> {
        let harmful = self.outstanding.iter().filter(|(_, call)| !call.harmless);
        harmful.map(|(id, _)| *id).collect()
    }

    /// Secrets that nothing needs once the run is over: admins', and old ones that are proved
    /// dead. New ones stay sealed, the only copy besides their places.
    pub fn secrets_no_longer_needed(&self) -> Vec<SecretId> {
        let kept: BTreeSet<SecretId> = self
            .facts()
            .into_values()
            .flat_map(|facts| [facts.old, facts.new])
            .flatten()
            .flat_map(|side| side.secrets)
            .collect();
        let actors = self.actors.iter().flat_map(|actor| &actor.side.secrets);
        let old = self.machines.iter().flat_map(|machine| &machine.old.secrets);
        actors.chain(old).filter(|id| !kept.contains(id)).copied().collect()
    }

    /// Whether it was told that its journal is lost.
    pub fn lost_its_journal(&self) -> bool {
        self.journal_lost.is_some()
    }

    /// Takes what happened.
    ///
    /// # Errors
    /// [`Illegal`], and nothing has changed.
    pub fn handle(&mut self, now: Time, event: Event) -> Result<(), Illegal> {
        if now < self.now {
            return Err(Illegal::TimeWentBack { from: self.now, to: now });
        }
        match (&event.what, self.started) {
            (What::Started, Some(_)) => return Err(Illegal::StartedTwice),
            (What::Started, None) | (_, Some(_)) => {}
            (_, None) => return Err(Illegal::NotStarted),
        }
        if let What::Answered(id, _) = &event.what
            && id.0 >= self.next_call
        {
            return Err(Illegal::UnknownCall(*id));
        }
        if let What::Told(Told::HandDone(subject)) = &event.what
            && self.machines.len() <= subject.0 as usize
        {
            return Err(Illegal::UnknownSubject(*subject));
        }
        self.now = now;
        self.wall = event.wall;
        match event.what {
            What::Started => self.begin(),
            What::Tick => {}
            What::Answered(id, answer) => self.answered(id, answer),
            What::Resumed => self.resume(),
            What::Told(Told::Stop) => self.stop(),
            What::Told(Told::HandDone(subject)) => self.hand_done(subject),
            What::Told(Told::JournalLost) => self.journal_lost = Some(self.wall),
        }
        self.settle();
        Ok(())
    }

    /// The next call that may be made now. Depends on no time but that of the last event.
    pub fn poll(&mut self) -> Option<(CallId, Call)> {
        loop {
            let (account, lane, item) = self.queue.pop(self.now)?;
            let id = CallId(self.next_call);
            self.next_call += 1;
            let call = self.make(account, &item);
            let outstanding = Outstanding {
                subject: item.subject,
                purpose: item.purpose,
                account,
                lane,
                harmless: call.as_ref().is_some_and(Call::harmless),
            };
            self.outstanding.insert(id, outstanding);
            match call {
                Some(call) => return Some((id, call)),
                None => {
                    // Its parties went away while it stood in line.
                    let missing = Fault::Refused(Reason::MissingValue.into());
                    self.answered(id, Answer::Fault(missing));
                    self.settle();
                }
            }
        }
    }

    /// When a tick is due, rounded up so that ticks cost at most 50 writes a second.
    pub fn wake(&self) -> Option<Time> {
        const GRAIN: u64 = super::queue::WAKE_MS;
        let timer = self.timers.first_key_value().map(|((at, _), ())| *at);
        let wait = self.plan.wait_ms.filter(|_| !self.left).map(Time);
        let first = [timer, self.queue.wake(), wait].into_iter().flatten().min()?;
        Some(Time(first.0.div_ceil(GRAIN) * GRAIN).max(self.now.plus(1)))
    }

    fn begin(&mut self) {
        self.started = Some(self.wall);
        for (index, role) in self.plan.roles.iter().enumerate() {
            let Some(state) = self.roles.get_mut(index) else { continue };
            state.stop = if role.stop.is_some() { Try::Todo } else { Try::Done };
            state.preserve = if role.evidence.is_empty() { Try::Done } else { Try::Todo };
        }
        self.role_calls();
        for index in 0..self.actors.len() {
            self.read_actor(index);
        }
        self.dirty.extend((0..self.machines.len()).map(subject));
    }

    fn read_actor(&mut self, index: usize) {
        if let Some(actor) = self.actors.get_mut(index) {
            actor.read = Try::Flying;
            let purpose = Purpose::ReadActor(u32::try_from(index).unwrap_or(u32::MAX));
            self.push_local(Lane::Need, None, purpose);
        }
    }

    fn role_calls(&mut self) {
        for index in 0..self.roles.len() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            if self.roles[index].stop == Try::Todo {
                self.roles[index].stop = Try::Flying;
                self.push_local(Lane::Need, None, Purpose::Stop(number));
            }
            if self.roles[index].preserve == Try::Todo {
                self.roles[index].preserve = Try::Flying;
                self.push_local(Lane::Baseline, None, Purpose::Preserve(number));
            }
        }
    }

    fn push_local(&mut self, lane: Lane, subject: Option<Subject>, purpose: Purpose) {
        let account = self.queue.account(&Account::local(), &unlimited());
        self.queue.push(account, lane, Item { subject, purpose }, self.now);
    }

    fn want(&mut self, subject: Subject, want: Want) {
        if let Purpose::MadeUp(kind, _) = want.purpose
            && let Some(sight) = self.sights.get_mut(&kind)
        {
            sight.flying = true;
        }
        let acting = self.scene(subject, |scene, machine| {
            let address = scene.kind.provider.clone();
            let acting = scene.acting_name(machine, &want.purpose)?;
            Some((Account { address, acting }, scene.kind.limits.clone()))
        });
        match acting.flatten() {
            Some((account, limits)) => {
                let account = self.queue.account(&account, &limits);
                let item = Item { subject: Some(subject), purpose: want.purpose };
                self.queue.push(account, want.lane, item, self.now);
            }
            None => self.push_local(want.lane, Some(subject), want.purpose),
        }
    }

    /// The view of one machine, lent to `look`.
    pub(super) fn scene<T>(
        &self,
        subject: Subject,
        look: impl FnOnce(&Scene<'_>, &Machine) -> T,
    ) -> Option<T> {
        let machine = self.machines.get(subject.0 as usize)?;
        let planned = self.plan.planned(subject)?;
        let scene = Scene {
            plan: &self.plan,
            subject,
            planned,
            kind: self.plan.kind(planned.kind)?,
            now: self.now,
            wall: self.wall,
            actors: &self.actors,
            machines: &self.machines,
            roles: &self.roles,
            sight: self.sights.get(&planned.kind),
            swept: self.lists.swept(subject),
            stopping: self.stopping,
            journal_lost: self.journal_lost.is_some(),
        };
        Some(look(&scene, machine))
    }

    /// Lends a machine to `act` together with its view, and puts it back.
    fn with_machine(&mut self, subject: Subject, act: impl FnOnce(&mut Machine, &Scene<'_>)) {
        let index = subject.0 as usize;
        let Some(slot) = self.machines.get_mut(index) else { return };
        let mut machine = std::mem::take(slot);
        // The others see it as it was when it was taken.
        let _ = self.scene(subject, |scene, _| act(&mut machine, scene));
        if let Some(slot) = self.machines.get_mut(index) {
            *slot = machine;
        }
    }

    fn make(&self, account: usize, item: &Item) -> Option<Call> {
        let task = match (&item.purpose, item.subject) {
            (Purpose::ReadActor(index), _) => {
                let actor = self.plan.actors.get(*index as usize)?;
                let kind = self.plan.kind(actor.kind)?;
                Task::Read {
                    provider: kind.provider.clone(),
                    kind: kind.kind.clone(),
                    parts: actor.places.clone(),
                }
            }
            (Purpose::Stop(index), _) => {
                let argv = self.plan.roles.get(*index as usize)?.stop.clone()?;
                Task::Stop { role: RoleIndex(*index), argv }
            }
            (Purpose::Preserve(index), _) => {
                let globs = self.plan.roles.get(*index as usize)?.evidence.clone();
                Task::Preserve { role: RoleIndex(*index), globs }
            }
            (purpose, Some(subject)) => {
                self.scene(subject, |scene, machine| scene.task(machine, purpose))??
            }
            (_, None) => return None,
        };
        let segment = item
            .subject
            .and_then(|subject| self.plan.planned(subject))
            .map_or_else(|| "local".to_owned(), |planned| planned.segment.clone());
        Some(Call { subject: item.subject, segment, account: self.queue.name(account), task })
    }

    fn answered(&mut self, id: CallId, answer: Answer) {
        // A late answer to a call that was already answered stays in the journal as evidence.
        let Some(call) = self.outstanding.remove(&id) else { return };
        self.queue.answered(call.account, self.now);
        match &answer {
            Answer::Fault(Fault::Throttled(wait)) => {
                self.queue.throttle(call.account, *wait, self.now);
            }
            Answer::Fault(_) => {}
            _ => self.queue.recovered(call.account),
        }
        match (&call.purpose, call.subject) {
            (Purpose::ReadActor(index), _) => self.took_actor(*index, id, answer),
            (Purpose::Stop(index), _) => self.role_stopped(*index, answer),
            (Purpose::Preserve(index), _) => self.role_preserved(*index, answer),
            (Purpose::MadeUp(kind, _), Some(subject)) => self.took_sight(*kind, subject, answer),
            (Purpose::List(list), Some(leader)) => self.took_list(*list, leader, answer),
            (_, Some(subject)) => self.machine_answered(subject, id, &call, answer),
            (_, None) => {}
        }
    }

    fn machine_answered(
        &mut self,
        subject: Subject,
        id: CallId,
        call: &Outstanding,
        answer: Answer,
    ) {
        // Told to wait, a probe asks the same layer again; the account's pause holds it back.
        if matches!(answer, Answer::Fault(Fault::Throttled(_))) && repeats(&call.purpose) {
            let want = Want { purpose: call.purpose.clone(), lane: call.lane };
            let open = self.machines.get(subject.0 as usize).is_some_and(|machine| !machine.closed);
            if open {
                self.want(subject, want);
            }
            return;
        }
        let mut wants = Vec::new();
        self.with_machine(subject, |machine, scene| {
            machine.answered(scene, id, &call.purpose, answer, &mut wants);
        });
        for want in wants {
            self.want(subject, want);
        }
        self.dirty.insert(subject);
    }

    fn took_actor(&mut self, index: u32, id: CallId, answer: Answer) {
        let Some(actor) = self.actors.get_mut(index as usize) else { return };
        match answer {
            Answer::Held(holding) => {
                actor.side = Side::default();
                actor.side.handle = self.plan.actors[index as usize].handle.clone();
                actor.side.absorb(id.into(), &holding);
                actor.read = Try::Done;
            }
            Answer::Fault(Fault::Refused(why) | Fault::NotSent(why) | Fault::Unknown(why)) => {
                actor.read = Try::Failed(why);
            }
            _ => actor.read = Try::Failed(Reason::Unreadable.into()),
        }
        self.dirty.extend((0..self.machines.len()).map(subject));
    }

    fn role_stopped(&mut self, index: u32, answer: Answer) {
        let wall = self.wall;
        if let Some(role) = self.roles.get_mut(index as usize) {
            role.tries += 1;
            role.stop = match answer {
                Answer::Done => {
                    role.stopped_at = Some(wall);
                    Try::Done
                }
                Answer::Fault(Fault::Unknown(_)) if role.tries <= ROLE_TRIES => Try::Todo,
                Answer::Fault(Fault::Refused(why) | Fault::NotSent(why) | Fault::Unknown(why)) => {
                    Try::Failed(why)
                }
                _ => Try::Failed(Reason::Unexpected.into()),
            };
        }
        self.role_changed(index);
    }

    fn role_preserved(&mut self, index: u32, answer: Answer) {
        if let Some(role) = self.roles.get_mut(index as usize) {
            role.tries += 1;
            role.preserve = match answer {
                Answer::Saved { archive, sha256, gaps } => {
                    role.archive = Some((archive, sha256));
                    role.gaps = gaps;
                    Try::Done
                }
                Answer::Fault(Fault::Unknown(_)) if role.tries <= ROLE_TRIES => Try::Todo,
                Answer::Fault(Fault::Refused(why) | Fault::NotSent(why) | Fault::Unknown(why)) => {
                    Try::Failed(why)
                }
                _ => Try::Failed(Reason::Unexpected.into()),
            };
        }
        self.role_changed(index);
    }

    fn role_changed(&mut self, index: u32) {
        self.role_calls();
        let of_role = self.plan.credentials.iter().enumerate();
        let of_role = of_role.filter(|(_, planned)| planned.role == RoleIndex(index));
        self.dirty.extend(of_role.map(|(index, _)| subject(index)));
    }

    fn took_sight(&mut self, kind: u32, asker: Subject, answer: Answer) {
        let throttled = matches!(answer, Answer::Fault(Fault::Throttled(_)));
        let layers = self.scene(asker, |scene, _| scene.layers()).unwrap_or(1);
        let now = self.now;
        let Some(state) = self.sights.get_mut(&kind) else { return };
        state.flying = false;
        if throttled {
            state.next = now.plus(SIGHT_PAUSE_MS);
        } else {
            let (seen, _) = liveness(answer);
            let Some(seen) = state.layers.take(seen, layers) else {
                let layer = state.layers.next;
                state.flying = true;
                let want = Want { purpose: Purpose::MadeUp(kind, layer), lane: Lane::Refused };
                self.want(asker, want);
                return;
            };
            state.layers = Layers::new();
            match seen {
                Liveness::Dead { .. } => state.sight = Some(Sight::Sees),
                Liveness::Alive(_) | Liveness::Restricted(_) => state.sight = Some(Sight::Blind),
                Liveness::Unclear(_) => {
                    state.unclear += 1;
                    state.next = now.plus(SIGHT_PAUSE_MS);
                    if state.unclear >= SIGHT_TRIES {
                        state.sight = Some(Sight::Unknown);
                    }
                }
            }
        }
        if state.sight.is_some() {
            self.dirty.append(&mut state.waiting);
        }
        self.dirty.insert(asker);
    }

    fn took_list(&mut self, list: u32, leader: Subject, answer: Answer) {
        if matches!(answer, Answer::Fault(Fault::Throttled(_))) {
            self.want(leader, Want { purpose: Purpose::List(list), lane: Lane::Sweep });
            return;
        }
        let listing = match answer {
            Answer::Found { rows, complete } => Some((rows, complete)),
            _ => None,
        };
        let hinted = listing.as_ref().and_then(the_hinted);
        if self.lists.took(list, listing) {
            self.sort_out(list);
        } else if let Some(machine) = self.machines.get_mut(leader.0 as usize)
            && machine.old.handle.is_none()
        {
            // Who asks shows its old value, and a row that fits it is no stranger.
            machine.old.handle = hinted;
        }
        self.dirty.extend(self.lists.members(list));
    }

    /// What a second list holds beyond what everybody knows: ours whose bytes were lost, and
    /// strangers.
    fn sort_out(&mut self, list: u32) {
        let known = self.known_handles(list);
        let prefix = format!("{}-", self.plan.label);
        let orphans: Vec<Row> = self.lists.sort_out(list, &known, &prefix);
        for row in orphans {
            let owner = self.lists.members(list).first().copied();
            if let Some(machine) =
                owner.and_then(|subject| self.machines.get_mut(subject.0 as usize))
            {
                machine.orphan(row);
            }
        }
    }

    fn known_handles(&self, list: u32) -> BTreeSet<String> {
        let mut known = BTreeSet::new();
        for machine in &self.machines {
            known.extend(machine.old.handle.clone());
            known.extend(machine.new.handle.clone());
        }
        for actor in &self.actors {
            known.extend(actor.side.handle.clone());
        }
        let members = self.lists.members(list);
        let provider = members
            .first()
            .and_then(|subject| self.plan.planned(*subject))
            .and_then(|planned| self.plan.kind(planned.kind))
            .map(|kind| kind.provider.as_str());
        if let Some(handles) = provider.and_then(|id| self.plan.known_handles.get(id)) {
            known.extend(handles.iter().cloned());
        }
        known
    }

    fn resume(&mut self) {
        self.resumed += 1;
        self.left = false;
        self.stopping = false;
        for subject in (0..self.machines.len()).map(subject) {
            let now = self.now;
            if let Some(proof) =
                self.machines.get_mut(subject.0 as usize).and_then(|machine| machine.proof.as_mut())
            {
                proof.resumed(now);
            }
        }
        self.reopen_left();
        let again: Vec<_> = self
            .outstanding
            .iter()
            .filter(|(_, call)| call.harmless)
            .map(|(id, call)| (*id, call.clone()))
            .collect();
        for (id, call) in again {
            self.outstanding.remove(&id);
            self.queue.answered(call.account, self.now);
            let item = Item { subject: call.subject, purpose: call.purpose };
            self.queue.push(call.account, call.lane, item, self.now);
        }
        self.dirty.extend((0..self.machines.len()).map(subject));
    }

    /// A person had stopped the run, or its wait was over: what was left is taken up again.
    fn reopen_left(&mut self) {
        for (index, machine) in self.machines.iter_mut().enumerate() {
            let through = self
                .plan
                .credentials
                .get(index)
                .is_none_or(|planned| usize::from(machine.at) >= planned.phases.len());
            if machine.closed && !through && machine.stopped_before_revoke.is_none() {
                machine.closed = false;
                machine.steps.flying = false;
                machine.proving = false;
                self.open += 1;
            }
        }
    }

    /// Begins nothing new; what is being revoked is finished.
    fn stop(&mut self) {
        self.stopping = true;
        let mut kept = BTreeSet::new();
        for (index, machine) in self.machines.iter_mut().enumerate() {
            let Some(planned) = self.plan.credentials.get(index) else { continue };
            let phase = machine.phase(&planned.phases);
            let revoking = phase == Some(Phase::Revoke) && machine.steps.sent > 0
                || phase == Some(Phase::Revoke) && machine.steps.flying
                || phase == Some(Phase::Evict);
            if revoking {
                kept.insert(subject(index));
            } else if !machine.closed {
                machine.leave();
                self.open = self.open.saturating_sub(1);
            }
        }
        self.queue.retain(self.now, |_, item| {
            item.subject.is_some_and(|subject| kept.contains(&subject))
        });
    }

    /// A person says that it is done: prove it again from the beginning.
    fn hand_done(&mut self, subject: Subject) {
        let (now, wall) = (self.now, self.wall);
        let Some(planned) = self.plan.credentials.get(subject.0 as usize) else { return };
        let Some(at) = planned.phases.iter().position(|phase| *phase == Phase::ProveOld) else {
            return;
        };
        let Some(machine) = self.machines.get_mut(subject.0 as usize) else { return };
        machine.done_by_hand = true;
        machine.revoke = Revoke::Accepted;
        machine.revoked = Some((now, wall));
        machine.proof = None;
        machine.proved_at = None;
        machine.gave_up = false;
        if usize::from(machine.at) > at || machine.closed {
            if machine.closed {
                self.open += 1;
            }
            machine.closed = false;
            machine.at = u16::try_from(at).unwrap_or(u16::MAX);
            machine.since = now;
            machine.steps = super::credential::Steps::default();
        }
        self.dirty.insert(subject);
    }

    /// Lets every machine that something changed for walk on, until nothing moves.
    fn settle(&mut self) {
        while let Some(((at, subject), ())) = self.timers.first_key_value().map(|(k, v)| (*k, *v)) {
            if at > self.now {
                break;
            }
            self.timers.remove(&(at, subject));
            self.timer_of[subject.0 as usize] = None;
            self.dirty.insert(subject);
        }
        if let Some(wait) = self.plan.wait_ms
            && self.now >= Time(wait)
            && !self.left
        {
            self.leave_all();
        }
        while let Some(subject) = self.dirty.pop_first() {
            self.advance(subject);
        }
        if self.is_done() {
            self.closed_at = Some(self.wall);
        }
    }

    fn leave_all(&mut self) {
        self.left = true;
        for machine in &mut self.machines {
            if !machine.closed {
                machine.leave();
            }
        }
        self.open = 0;
        self.queue.retain(self.now, |_, _| false);
    }

    fn advance(&mut self, subject: Subject) {
        let index = subject.0 as usize;
        let Some(before) = self.machines.get(index).map(|machine| {
            (machine.closed, machine.at, machine.new_identity.is_some(), machine.revoke)
        }) else {
            return;
        };
        if before.0 {
            return;
        }
        self.sight_for(subject);
        let mut wants = Vec::new();
        self.with_machine(subject, |machine, scene| machine.advance(scene, &mut wants));
        for want in wants {
            self.want(subject, want);
        }
        self.list_before(subject);
        let Some(machine) = self.machines.get(index) else { return };
        let after = (machine.closed, machine.at, machine.new_identity.is_some(), machine.revoke);
        let wake = machine.wake;
        if after.0 {
            self.open = self.open.saturating_sub(1);
        }
        if after != before {
            self.wake_dependants(subject);
        }
        self.set_timer(subject, wake);
    }

    /// Reads what exists, as soon as who may read it is at hand.
    fn list_before(&mut self, subject: Subject) {
        if !self.lists.leads_unasked(subject) {
            return;
        }
        let ready = self.scene(subject, |scene, machine| {
            let way = scene.ways(Verb::Find).first();
            machine.read.settled()
                && way.is_some_and(|way| scene.way_ready(machine, Verb::Find, way) == Ready::Now)
        });
        if ready == Some(true)
            && let Some(list) = self.lists.ask_before(subject)
        {
            self.want(subject, Want { purpose: Purpose::List(list), lane: Lane::Baseline });
        }
    }

    fn wake_dependants(&mut self, changed: Subject) {
        let Some(planned) = self.plan.planned(changed) else { return };
        self.dirty.extend(planned.serves.iter().copied());
        for acting in planned.admins.values().chain(planned.client.iter()) {
            if let super::plan::Acting::Planned(admin) = acting {
                self.dirty.insert(*admin);
            }
        }
        self.dirty.extend(self.lists.followers(changed));
        let sweeping = self.machines.get(changed.0 as usize).is_some_and(|machine| {
            machine.closed || machine.phase(&planned.phases) == Some(Phase::Sweep)
        });
        if sweeping && let Some((list, leader)) = self.lists.arrived(changed) {
            self.want(leader, Want { purpose: Purpose::List(list), lane: Lane::Sweep });
        }
    }

    /// The negative control of this kind, made when the first revocation of that kind was sent.
    fn sight_for(&mut self, subject: Subject) {
        let Some(planned) = self.plan.planned(subject) else { return };
        let Some(kind) = self.plan.kind(planned.kind) else { return };
        if !self.sights.contains_key(&planned.kind) {
            let earlier = planned.earlier.as_ref().and_then(|earlier| earlier.sight);
            let allowed = match (kind.can.class, kind.limits.refused) {
                (_, Some(rate)) => rate.count > 0,
                (Class::Password, None) => false,
                (_, None) => true,
            };
            let probe = kind.can.verbs.contains_key(&Verb::Probe);
            let sight = match earlier {
                Some(Sight::Sees) => Some(Sight::Sees),
                _ if !allowed || !probe => Some(Sight::NotAllowed),
                _ => None,
            };
            let state = SightState {
                sight,
                flying: false,
                layers: Layers::new(),
                unclear: 0,
                next: Time(0),
                waiting: BTreeSet::new(),
            };
            self.sights.insert(planned.kind, state);
        }
        if let Some(state) = self.sights.get_mut(&planned.kind)
            && state.sight.is_none()
            && self.machines[subject.0 as usize].phase(&planned.phases) == Some(Phase::ProveOld)
        {
            state.waiting.insert(subject);
        }
    }

    /// What the negative control of a kind showed.
    pub(super) fn sight(&self, kind: u32) -> Sight {
        self.sights.get(&kind).and_then(|state| state.sight).unwrap_or(Sight::Unknown)
    }

    fn set_timer(&mut self, subject: Subject, wake: Option<Time>) {
        let Some(slot) = self.timer_of.get_mut(subject.0 as usize) else { return };
        if *slot == wake {
            return;
        }
        if let Some(at) = slot.take() {
            self.timers.remove(&(at, subject));
        }
        if let Some(at) = wake {
            self.timers.insert((at, subject), ());
            *slot = Some(at);
        }
    }
}

impl Machine {
    /// What is known of a credential before the run.
    fn begin(planned: &super::plan::Planned) -> Self {
        let mut machine = Self::default();
        machine.old.handle.clone_from(&planned.handle);
        let Some(earlier) = &planned.earlier else { return machine };
        machine.known = earlier.accepted_as.is_some();
        let side = |known: &super::plan::KnownSide| Side {
            fingerprint: known.fingerprint.clone(),
            handle: known.handle.clone(),
            public: known.public.clone(),
            secrets: known.secrets.clone(),
        };
        if !planned.phases.contains(&Phase::Baseline) {
            if let Some(old) = &earlier.old {
                machine.old = side(old);
                machine.read = Try::Done;
            }
            if let Some(who) = &earlier.accepted_as {
                machine.before = Some(Before::Accepted);
                machine.identity = Some(who.clone()).filter(|who| !who.0.is_empty());
            }
            machine.last_accepted = earlier.last_accepted;
            machine.revoke = earlier.revoke.unwrap_or_default();
            machine.revoked = earlier.revoked_at.map(|wall| (Time(0), wall));
            if let Some(new) = earlier.new.as_ref().filter(|new| !new.secrets.is_empty()) {
                machine.new = side(new);
                machine.issued = super::credential::Issued::Yes;
                machine.deliver = if earlier.delivered { Try::Done } else { Try::Todo };
            }
        }
        machine
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

/// The only row that fits the old value, of a list that was read to its end.
fn the_hinted((rows, complete): &Listing) -> Option<String> {
    let mut hinted = rows.iter().filter(|row| row.hinted);
    match (complete, hinted.next(), hinted.next()) {
        (true, Some(row), None) => Some(row.handle.clone()),
        _ => None,
    }
}

fn subject(index: usize) -> Subject {
    Subject(u32::try_from(index).unwrap_or(u32::MAX))
}

/// What is done on this machine has no limits but the run's own.
fn unlimited() -> super::capability::Limits {
    super::capability::Limits { in_flight: u32::MAX, calls: None, revoke: None, refused: None }
}
