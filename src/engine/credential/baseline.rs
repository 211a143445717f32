//! Baseline: the old one is read, looked at, and what later verbs need is found.

use super::advance::Flow;
use super::{Failures, Layers, Machine, NotSafe, Outcome, Purpose, Side, Try, liveness, text};
use crate::engine::call::{Answer, Fault, Liveness, Reason, SecretId, Time, Values, Verb, Why};
use crate::engine::capability::{StepCapability, Way};
use crate::engine::queue::{IN_FLIGHT, Lane};
use crate::engine::report::{Mode, Revoke};
use crate::engine::scene::{Ready, Scene, Want};
use crate::engine::verdict::Before;

/// In contain the old one is looked at once, and the revocation waits no longer than this for what
/// was sent: a missing control costs a claim, a late revocation costs the user. Two seconds are two
/// slow round trips.
pub(in crate::engine) const BASELINE_MS: u64 = 2_000;

/// What stands in line behind this run's own calls has not been late yet: its revocation would
/// stand in the same line. For each credential beyond those that can be under way at once, a look
/// that was not sent may wait this much longer. One more call for each of thousands takes about
/// that of a small machine, so the last revocation comes at most about twice as late.
const LINE_MS: u64 = 1;

/// Outside an incident: three looks of 20 s each, and what they need before.
const PATIENT_MS: u64 = 120_000;

/// How often a rehearsal looks at an old one that did not answer clearly, and what lies between.
const LOOKS: u32 = 3;
const LOOK_PAUSE_MS: u64 = 1_000;

/// How often a place is read that gave no answer at all.
const READS: u32 = 3;

/// How often a provider is asked that answers what nobody understands: a page that a proxy puts in
/// between goes away, another API does not.
const HEARINGS: u32 = 3;

impl Machine {
    /// Asks for what is not known yet, in whatever phase: contain does not wait for it.
    pub(super) fn gather(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.read == Try::Todo {
            self.read = Try::Flying;
            self.reads += 1;
            wants.push(Want { purpose: Purpose::Read, lane: Lane::Need });
        }
        self.learn_facts(scene, wants);
        self.find_handle(scene, wants);
        if self.look_failures.count > 0 {
            self.look_at_old(scene, wants);
        }
    }

    pub(super) fn baseline(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        self.look_at_old(scene, wants);
        let tries = [&self.read, &self.look, &self.learn, &self.find];
        if tries.iter().all(|one| one.settled()) {
            return self.after_baseline(scene);
        }
        let hasty = scene.plan.mode.contains();
        let end = if hasty { self.hasty_end(scene) } else { self.since.plus(PATIENT_MS) };
        if scene.now < end {
            self.wake_by(end);
            return Flow::Wait;
        }
        if !hasty {
            for one in [&mut self.read, &mut self.look, &mut self.learn, &mut self.find] {
                if !one.settled() {
                    *one = Try::Failed(Reason::Timeout.into());
                }
            }
        }
        self.after_baseline(scene)
    }

    /// When the revocation waits no more: two seconds after something was sent that is not answered,
    /// or when its place in line has cost enough.
    fn hasty_end(&self, scene: &Scene<'_>) -> Time {
        let line = in_line_ms(scene);
        // Whoever waits for less than that still wants the revocation sent within it.
        let short = scene.plan.wait_ms.map_or(line, |wait| line.min(wait / 2));
        let end = self.since.plus(short);
        match self.gathering {
            (0, _) => end,
            (_, since) => end.min(since.plus(BASELINE_MS)),
        }
    }

    /// A call has left; when its answer is waited for no more, if it is one of these.
    pub(super) fn gathers(&mut self, purpose: &Purpose, now: Time) -> Option<Time> {
        if !is_gathering(purpose) {
            return None;
        }
        let (under_way, since) = &mut self.gathering;
        if *under_way == 0 {
            *since = now;
        }
        *under_way += 1;
        Some(since.plus(BASELINE_MS))
    }

    /// A call is under way no more.
    pub(in crate::engine) fn is_back(&mut self, purpose: &Purpose) {
        if is_gathering(purpose) {
            self.gathering.0 = self.gathering.0.saturating_sub(1);
        }
    }

    fn after_baseline(&mut self, scene: &Scene<'_>) -> Flow {
        if scene.plan.mode == Mode::Rehearse && self.before != Some(Before::Accepted) {
            self.stop_before_revoke(&scene.planned.phases, NotSafe::OldNotAlive);
        }
        Flow::Next
    }

    fn look_at_old(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.look != Try::Todo {
            return;
        }
        if scene.now < self.looks.1 {
            self.wake_by(self.looks.1);
            return;
        }
        match scene.probe().map(|way| scene.way_ready(self, Verb::Probe, way, 0)) {
            Some(Ready::Now) => {
                self.look = Try::Flying;
                self.looks.0 += 1;
                self.look_layers = Layers::new();
                wants.push(Want { purpose: Purpose::Baseline(0), lane: Lane::Baseline });
            }
            Some(Ready::Later) => {}
            Some(Ready::Never(why)) => self.look = Try::Failed(why),
            None => self.look = Try::Failed(Reason::Unsupported.into()),
        }
    }

    fn learn_facts(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.learn != Try::Todo {
            return;
        }
        if scene.now < self.learns.next {
            self.wake_by(self.learns.next);
            return;
        }
        let from = usize::from(self.learn_step);
        let way = scene.ways(Verb::Learn).first();
        match way.map(|way| scene.way_ready(self, Verb::Learn, way, from)) {
            Some(Ready::Now) => {
                self.learn = Try::Flying;
                wants.push(Want { purpose: Purpose::Learn(self.learn_step), lane: Lane::Need });
            }
            Some(Ready::Later) => {}
            Some(Ready::Never(why)) => self.learn = Try::Failed(why),
            None => self.learn = Try::Done,
        }
    }

    /// The handle is looked for only where something needs it and nobody knows it. A row is
    /// recognised by the old value, so that has to be at hand.
    fn find_handle(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        if self.find != Try::Todo {
            return;
        }
        if scene.now < self.finds.next {
            self.wake_by(self.finds.next);
            return;
        }
        let needed = [Verb::Revoke, Verb::Evict, Verb::Finish, Verb::Roll]
            .iter()
            .any(|verb| scene.ways(*verb).iter().any(Way::needs_handle));
        if !needed || (self.read.settled() && self.old.handle.is_some()) {
            self.find = Try::Done;
            return;
        }
        match &self.read {
            Try::Done => {}
            Try::Failed(why) => {
                self.find = Try::Failed(why.clone());
                return;
            }
            Try::Todo | Try::Flying => return,
        }
        let way = scene.ways(Verb::Find).first();
        match way.map(|way| scene.way_ready(self, Verb::Find, way, 0)) {
            Some(Ready::Now) => {
                self.find = Try::Flying;
                // A list that hangs holds up no proof of what was ended without it.
                let ended = self.revoke == Revoke::Accepted;
                let lane = if ended { Lane::Sweep } else { Lane::Need };
                wants.push(Want { purpose: Purpose::Find, lane });
            }
            Some(Ready::Later) => {}
            Some(Ready::Never(why)) => self.find = Try::Failed(why),
            None => self.find = Try::Failed(Reason::Unsupported.into()),
        }
    }

    pub(super) fn took_read(&mut self, scene: &Scene<'_>, id: SecretId, answer: Answer) {
        self.read = match Outcome::from(answer) {
            Outcome::Brought(holding) if scene.plan.mode == Mode::Restore => {
                self.read_again(id, &holding)
            }
            Outcome::Brought(holding) => {
                self.old.absorb(id, &holding);
                self.old.find_handle(scene.handle_part());
                self.known |= scene.journal_knows(&self.old.fingerprint);
                Try::Done
            }
            Outcome::NotSent(_) | Outcome::Lost(_) if self.reads < READS => Try::Todo,
            Outcome::Refused(why) | Outcome::NotSent(why) | Outcome::Lost(why) => Try::Failed(why),
            _ => Try::Failed(Reason::Unreadable.into()),
        };
    }

    /// Before a restore writes: the place holds the burned one, or ours already, or nothing is
    /// known of what it held. Anything else is somebody else's work.
    fn read_again(&mut self, id: SecretId, holding: &crate::engine::call::Holding) -> Try {
        let print = &holding.fingerprint;
        let expected = self.old.fingerprint.is_empty()
            || *print == self.old.fingerprint
            || *print == self.new.fingerprint;
        if !expected {
            self.deliver = Try::Failed(Reason::PlaceChanged.into());
        }
        let ours_already = *print == self.new.fingerprint;
        let handle = self.old.handle.take();
        let known = std::mem::take(&mut self.old.fingerprint);
        self.old = Side::default();
        // Where an earlier run filled this place, others still hold the old one, whose bytes were
        // forgotten when it was dead: nothing is left to compare them with.
        if !ours_already {
            self.old.absorb(id, holding);
        }
        self.old.handle = handle.or(self.old.handle.take());
        if !known.is_empty() {
            self.old.fingerprint = known;
        }
        Try::Done
    }

    pub(super) fn looked_at_old(
        &mut self,
        scene: &Scene<'_>,
        answer: Answer,
        wants: &mut Vec<Want>,
    ) {
        let (seen, values) = liveness(answer);
        let Some(seen) = self.look_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::Baseline(self.look_layers.next);
            wants.push(Want { purpose, lane: Lane::Baseline });
            return;
        };
        let now_in_baseline = scene.in_baseline(self);
        self.look = Try::Done;
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) => {
                self.learn_from_probe(scene, &values);
                self.accepted_as(scene, who);
            }
            // Later on the refusal may be our own doing, and says nothing of the time before.
            Liveness::Dead { .. } if now_in_baseline => {
                if self.before.is_none() {
                    self.before = Some(Before::Refused);
                }
                self.saw_old_refused(scene.wall);
            }
            Liveness::Dead { .. } => {}
            Liveness::Unclear(why) => {
                self.before.get_or_insert(Before::Unknown);
                // Outside an incident a second look costs nothing.
                let again = !scene.plan.mode.contains() && self.looks.0 < LOOKS;
                self.looks.1 = scene.now.plus(LOOK_PAUSE_MS);
                self.look = if again {
                    Try::Todo
                } else if self.kill_needs_look(scene) {
                    let again = self.look_failures.again(scene, why);
                    self.looks.1 = self.look_failures.next;
                    again
                } else {
                    Try::Failed(why)
                };
            }
        }
    }

    /// Whether nothing can be revoked before a look has told its handle: then it is no more a
    /// matter of what may be claimed, and is asked again like everything that a kill needs.
    fn kill_needs_look(&self, scene: &Scene<'_>) -> bool {
        let takes = |step: &StepCapability| step.takes.iter().any(|name| name == "handle");
        let ways = scene.ways(Verb::Revoke);
        self.old.handle.is_none()
            && self.revoke == Revoke::None
            && scene.probe().is_some_and(|way| way.steps.iter().any(takes))
            && !ways.is_empty()
            && ways.iter().all(Way::needs_handle)
    }

    /// What a probe tells of the handle stands above the inventory's word, and below the value's
    /// own.
    fn learn_from_probe(&mut self, scene: &Scene<'_>, values: &Values) {
        let told = self.old.handle == scene.planned.handle && scene.handle_part().is_none();
        if told && let Some(handle) = values.get("handle").and_then(text) {
            self.old.handle = Some(handle);
        }
        for (name, value) in values {
            if name != "handle" {
                self.taken.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    pub(super) fn learned(
        &mut self,
        scene: &Scene<'_>,
        step: u16,
        answer: Answer,
        wants: &mut Vec<Want>,
    ) {
        let steps = scene.ways(Verb::Learn).first().map_or(0, |way| way.steps.len());
        match Outcome::from(answer) {
            Outcome::Done(mut values) => {
                if let Some(handle) = values.remove("handle").as_ref().and_then(text) {
                    self.old.handle.get_or_insert(handle);
                }
                self.taken.extend(values);
                self.learn_step = step + 1;
                if usize::from(self.learn_step) < steps {
                    let purpose = Purpose::Learn(self.learn_step);
                    wants.push(Want { purpose, lane: Lane::Need });
                } else {
                    self.learn = Try::Done;
                }
            }
            Outcome::NotSent(why) | Outcome::Lost(why) => {
                self.learn = self.learns.again(scene, why);
            }
            Outcome::Refused(why) => self.learn = self.learns.again_if_unclear(scene, why),
            Outcome::Gone | Outcome::Brought(_) | Outcome::Throttled => {
                self.learn = Try::Failed(Reason::Unexpected.into());
            }
        }
    }

    /// Exactly one row that matches, from a list that was read to its end; never by position.
    pub(super) fn found_handle(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.find = match answer {
            Answer::Found { rows, complete: true } => {
                let mut hinted = rows.into_iter().filter(|row| row.hinted);
                match (hinted.next(), hinted.next()) {
                    (Some(row), None) if !row.handle.is_empty() => {
                        self.known |= row.revoked;
                        self.old.handle.get_or_insert(row.handle);
                        Try::Done
                    }
                    _ => Try::Failed(Reason::MissingValue.into()),
                }
            }
            Answer::Found { .. } => Try::Failed(Reason::TooLong.into()),
            Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why)) => {
                self.finds.again(scene, why)
            }
            Answer::Fault(Fault::Refused(why)) => self.finds.again_if_unclear(scene, why),
            _ => Try::Failed(Reason::Unexpected.into()),
        };
    }
}

impl Failures {
    /// Without what is asked for here nothing may be there to revoke it by, and asking makes
    /// nothing: it goes on, beside everything else, for as long as its provider is waited for.
    fn again(&mut self, scene: &Scene<'_>, why: Why) -> Try {
        if self.count == 0 {
            self.since = scene.now;
        }
        self.next = scene.now.plus(Machine::pause(self.count));
        self.count += 1;
        let end = self.since.plus(scene.kind.can.proof.give_up_ms);
        if self.next < end { Try::Todo } else { Try::Failed(why) }
    }

    /// A no is a no; what nobody understands is none yet.
    fn again_if_unclear(&mut self, scene: &Scene<'_>, why: Why) -> Try {
        if why.reason == Reason::Unexpected && self.count + 1 < HEARINGS {
            return self.again(scene, why);
        }
        Try::Failed(why)
    }
}

/// How long a revocation waits in all for its look to come to the head of the line, milliseconds.
pub(super) fn in_line_ms(scene: &Scene<'_>) -> u64 {
    let beyond = scene.plan.credentials.len().saturating_sub(IN_FLIGHT);
    BASELINE_MS.saturating_add(LINE_MS.saturating_mul(beyond as u64))
}

fn is_gathering(purpose: &Purpose) -> bool {
    matches!(purpose, Purpose::Read | Purpose::Baseline(_) | Purpose::Learn(_) | Purpose::Find)
}
