//! A run: all machines, their dependencies and limits. Events in, calls out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

mod around;
mod calls;
mod lists;
mod people;
mod roles;
mod sight;
mod strangers;

use super::batch::Seat;
use super::call::{Answer, Call, CallId, Event, Fault, SecretId, Subject, Time, Told, Wall, What};
use super::credential::{Machine, Purpose, Try};
use super::plan::Plan;
use super::queue::{Lane, Queue, Taken};
use super::scene::{ActorState, RoleState, Scene, SightState, Want};
use super::sweep::Lists;
use around::Tally;

/// Wakes are rounded up to this many milliseconds, so that ticks cost at most 50 writes a second.
const WAKE_MS: u64 = 20;

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
    item: Item,
    account: usize,
    lane: Lane,
    /// Its place in a request that others share.
    seat: Option<Seat>,
    harmless: bool,
    /// A person must answer; nobody waits for it to leave.
    person: bool,
    /// Credentials of the run that take part as admin or client with their old value.
    borrowed: Vec<Subject>,
    /// Issues lost before this one.
    attempt: u32,
}

/// Something in line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    subject: Option<Subject>,
    purpose: Purpose,
    /// What it belongs to: see [`Machine::mark`].
    mark: u32,
    /// The provider's limits leave nothing of its kind, ever.
    forbidden: bool,
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
    tally: Tally,
    /// By kind: how long its provider's limits hold back the last credential there, milliseconds.
    lines: Vec<u64>,
    /// By provider: handles that the inventory names, or that this run or earlier ones know.
    known: BTreeMap<String, BTreeSet<String>>,
    queue: Queue<Item>,
    outstanding: BTreeMap<CallId, Outstanding>,
    /// Calls that were answered `Unknown` and could still bring something.
    unknown: BTreeMap<CallId, Outstanding>,
    timers: BTreeSet<(Time, Subject)>,
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
    /// When it leaves with what is known by then, and from when on that counts.
    wait_ms: Option<u64>,
    wait_from: Time,
    left: bool,
}

impl Run {
    /// A run that has not begun.
    pub fn new(plan: Plan) -> Self {
        let begin = |planned| Machine::begin(planned, plan.mode);
        let machines: Vec<_> = plan.credentials.iter().map(begin).collect();
        let known = plan.known_handles.iter();
        Self {
            actors: vec![ActorState::default(); plan.actors.len()],
            roles: plan.roles.iter().map(|_| RoleState::default()).collect(),
            timer_of: vec![None; machines.len()],
            open: machines.len(),
            lists: Lists::of(&plan),
            tally: Tally::of(&plan),
            lines: lines(&plan),
            known: known.map(|(id, all)| (id.clone(), all.iter().cloned().collect())).collect(),
            machines,
            sights: BTreeMap::new(),
            queue: Queue::default(),
            outstanding: BTreeMap::new(),
            unknown: BTreeMap::new(),
            timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            next_call: 1,
            now: Time(0),
            wall: Wall(0),
            started: None,
            closed_at: None,
            resumed: 0,
            stopping: false,
            journal_lost: None,
            wait_ms: plan.wait_ms,
            plan,
            wait_from: Time(0),
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

    /// Whether nothing is left to do, and nothing is under way that must be waited for. A run that
    /// a person stopped, or whose `--wait` is over, waits for what may change something, and not
    /// for a person's answer.
    pub fn is_done(&self) -> bool {
        let leaving = self.left || self.stopping;
        let waits = |call: &Outstanding| !leaving || !(call.harmless || call.person);
        self.started.is_some()
            && self.open == 0
            && !self.outstanding.values().any(waits)
            && (leaving || self.roles.iter().all(RoleState::settled))
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
        let facts = self.facts().into_values();
        let kept: BTreeSet<SecretId> = facts
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
        self.vet(now, &event)?;
        self.now = now;
        self.wall = event.wall;
        match event.what {
            What::Started => self.begin(),
            What::Tick => {}
            What::Answered(id, answer) => self.answered(id, answer),
            What::Resumed => self.resume(),
            What::Told(Told::Stop) => self.stop(),
            What::Told(Told::HandDone(subject)) => self.hand_done(subject),
            What::Told(Told::JournalLost) => {
                self.journal_lost.get_or_insert(self.wall);
                self.dirty.extend(subjects(self.machines.len()));
            }
            What::Told(Told::Wait(ms)) => (self.wait_ms, self.wait_from) = (Some(ms), self.now),
        }
        self.settle();
        Ok(())
    }

    fn vet(&self, now: Time, event: &Event) -> Result<(), Illegal> {
        if now < self.now {
            return Err(Illegal::TimeWentBack { from: self.now, to: now });
        }
        match (&event.what, self.started) {
            (What::Started, Some(_)) => Err(Illegal::StartedTwice),
            (What::Started, None) => Ok(()),
            (_, None) => Err(Illegal::NotStarted),
            (What::Answered(id, _), _) if id.0 == 0 || id.0 >= self.next_call => {
                Err(Illegal::UnknownCall(*id))
            }
            (What::Told(Told::HandDone(subject)), _)
                if self.machines.len() <= subject.0 as usize =>
            {
                Err(Illegal::UnknownSubject(*subject))
            }
            _ => Ok(()),
        }
    }

    /// The next call that may be made now. Depends on no time but that of the last event.
    pub fn poll(&mut self) -> Option<(CallId, Call)> {
        loop {
            let machines = &self.machines;
            let wanted = |item: &Item| {
                item.subject
                    .and_then(|subject| machines.get(subject.0 as usize))
                    .is_none_or(|machine| machine.wants(&item.purpose, item.mark))
            };
            let taken = self.queue.pop(self.now, wanted)?;
            let id = CallId(self.next_call);
            self.next_call += 1;
            match self.make(&taken) {
                Ok(call) => {
                    self.leave_for(id, taken, &call);
                    return Some((id, call));
                }
                // Its parties went away while it stood in line, or it may not be made any more.
                Err(why) => {
                    let Taken { account, seat, item, .. } = taken;
                    self.queue.answered(account, seat, self.now);
                    self.take(id, &item, Answer::Fault(Fault::Refused(why)));
                    self.settle();
                }
            }
        }
    }

    /// When it leaves, or left, with what is known by then; none where it is not to.
    pub fn leaves_at(&self) -> Option<Time> {
        Some(self.wait_from.plus(self.wait_ms?))
    }

    /// When a tick is due, rounded up so that ticks cost at most 50 writes a second.
    pub fn wake(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let wait = self.leaves_at().filter(|_| !self.left);
        let first = [timer, self.queue.wake(), wait].into_iter().flatten().min()?;
        let at = first.max(self.now.plus(1));
        Some(Time(at.0.div_ceil(WAKE_MS).saturating_mul(WAKE_MS)))
    }

    fn begin(&mut self) {
        self.started = Some(self.wall);
        self.begin_roles();
        for index in 0..self.actors.len() {
            self.read_actor(index);
        }
        for subject in subjects(self.machines.len()) {
            self.learn_handles(subject);
        }
        self.dirty.extend(subjects(self.machines.len()));
    }

    /// The view of one machine, lent to `look`.
    pub(super) fn scene<T>(
        &self,
        subject: Subject,
        look: impl FnOnce(&Scene<'_>, &Machine) -> T,
    ) -> Option<T> {
        let machine = self.machines.get(subject.0 as usize)?;
        let planned = self.plan.planned(subject)?;
        let kind = self.plan.kind(planned.kind)?;
        let scene = Scene {
            plan: &self.plan,
            subject,
            planned,
            kind,
            now: self.now,
            wall: self.wall,
            actors: &self.actors,
            machines: &self.machines,
            roles: &self.roles,
            lists: &self.lists,
            known: self.known.get(&kind.provider),
            sight: self.sights.get(&planned.kind),
            around: self.around(subject, planned),
            line_ms: self.lines.get(planned.kind as usize).copied().unwrap_or(0),
            swept: self.lists.swept(subject),
            stopping: self.stopping,
            journal_lost: self.journal_lost.is_some(),
        };
        Some(look(&scene, machine))
    }

    /// Lends a machine to `act` together with its view. The view shows it, and every other one, as
    /// it was before.
    fn with_machine(&mut self, subject: Subject, act: impl FnOnce(&mut Machine, &Scene<'_>)) {
        let changed = self.scene(subject, |scene, machine| {
            let mut machine = machine.clone();
            act(&mut machine, scene);
            machine
        });
        if let Some(machine) = changed
            && let Some(slot) = self.machines.get_mut(subject.0 as usize)
        {
            *slot = machine;
        }
    }

    /// Lets every machine that something changed for walk on, until nothing moves.
    fn settle(&mut self) {
        while let Some((at, subject)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.remove(&(at, subject));
            if let Some(slot) = self.timer_of.get_mut(subject.0 as usize) {
                *slot = None;
            }
            self.dirty.insert(subject);
        }
        if self.leaves_at().is_some_and(|at| self.now >= at) && !self.left {
            self.leave_all();
        }
        while let Some(subject) = self.dirty.pop_first() {
            self.advance(subject);
        }
        if self.left {
            // What an answer that came home since still asks for.
            self.empty_line(|_| false);
        }
        let through = self.is_done() && !self.left && !self.stopping;
        self.closed_at = through.then(|| self.closed_at.unwrap_or(self.wall));
    }

    fn advance(&mut self, subject: Subject) {
        let index = subject.0 as usize;
        let Some(before) = self.machines.get(index).map(Shown::of) else { return };
        if before.closed {
            return;
        }
        self.sight_for(subject);
        let mut wants = Vec::new();
        self.with_machine(subject, |machine, scene| machine.advance(scene, &mut wants));
        for want in wants {
            self.want(subject, want);
        }
        self.list_before(subject);
        let strangers = self.end_strangers(subject);
        let Some(machine) = self.machines.get(index) else { return };
        let wake = if machine.closed { None } else { strangers };
        let (after, wake) = (Shown::of(machine), [machine.wake, wake].into_iter().flatten().min());
        if after.closed {
            self.open = self.open.saturating_sub(1);
        }
        if after != before {
            self.wake_dependants(subject);
        }
        self.set_timer(subject, wake);
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
            self.timers.insert((at, subject));
            *slot = Some(at);
        }
    }
}

/// What others may be waiting for.
#[derive(PartialEq)]
struct Shown {
    closed: bool,
    at: u16,
    read: bool,
    new_is_proved: bool,
    revoke: super::report::Revoke,
    ready_to_sweep: bool,
}

impl Shown {
    fn of(machine: &Machine) -> Self {
        Self {
            closed: machine.closed,
            at: machine.at,
            read: machine.read.settled(),
            new_is_proved: machine.new_identity.is_some(),
            revoke: machine.revoke,
            ready_to_sweep: machine.ready_to_sweep,
        }
    }
}

impl RoleState {
    fn settled(&self) -> bool {
        self.stop.settled() && self.preserve.settled() && self.scan.settled()
    }
}

fn subject(index: usize) -> Subject {
    Subject(u32::try_from(index).unwrap_or(u32::MAX))
}

fn subjects(count: usize) -> impl Iterator<Item = Subject> {
    (0..count).map(subject)
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl ActorState {
    fn reading(&mut self) {
        self.read = Try::Flying;
        self.reads += 1;
    }
}

impl Want {
    fn repeat(purpose: &Purpose, lane: Lane) -> Self {
        Self { purpose: purpose.clone(), lane }
    }
}

fn lines(plan: &Plan) -> Vec<u64> {
    let mut at: BTreeMap<&str, u64> = BTreeMap::new();
    for kind in plan.credentials.iter().filter_map(|planned| plan.kind(planned.kind)) {
        *at.entry(&kind.provider).or_default() += 1;
    }
    let count = |provider: &str| at.get(provider).copied().unwrap_or(0);
    plan.kinds.iter().map(|kind| kind.limits.line_ms(count(&kind.provider))).collect()
}
