//! What an answer does to a credential: one match over what the call was for.

use super::{
    ControlKind, Issued, Layers, Machine, OrphanFound, Outcome, Purpose, Steps, Try, liveness, text,
};
use crate::engine::call::{
    Answer, CallId, Fault, Identity, Liveness, PlaceState, Reason, Row, SecretId, Values, Verb, Why,
};
use crate::engine::queue::Lane;
use crate::engine::report::Revoke;
use crate::engine::scene::{Scene, Want};
use crate::engine::verdict::Before;

/// A control that is not accepted at once is asked again after this long.
const CONTROL_PAUSE_MS: u64 = 1_000;

/// How often a list is asked for after a lost answer, while it gets no answer itself.
const LIST_PAUSE_MS: u64 = 2_000;

impl Machine {
    /// Takes an answer. `id` names the bytes that came with it.
    pub(crate) fn answered(
        &mut self,
        scene: &Scene<'_>,
        id: CallId,
        purpose: &Purpose,
        answer: Answer,
        wants: &mut Vec<Want>,
    ) {
        if let Some(phase) = purpose.phase()
            && self.phase(&scene.planned.phases) != Some(phase)
        {
            self.answered_late(scene, id.into(), purpose, answer);
            return;
        }
        match purpose {
            Purpose::Read => self.took_read(id.into(), answer),
            Purpose::Baseline(_) => self.looked_at_old(scene, answer, wants),
            Purpose::Learn(step) => self.learned(scene, *step, answer, wants),
            Purpose::Find => self.found_handle(answer),
            Purpose::Generate => self.generated(scene, id.into(), answer),
            Purpose::Issue { .. } => self.issue_step(scene, id.into(), answer, Verb::Issue),
            Purpose::Roll { .. } => self.issue_step(scene, id.into(), answer, Verb::Roll),
            Purpose::LookForIssued => self.looked_for_issued(scene, answer),
            Purpose::RevokeOrphan { handle, .. } => self.orphan_step(scene, handle, answer),
            Purpose::Finish { .. } => {
                self.plain_step(scene, Verb::Finish, answer);
            }
            Purpose::Revoke { .. } => self.revoke_step(scene, answer),
            Purpose::Evict { .. } => {
                if self.plain_step(scene, Verb::Evict, answer) {
                    self.evict = Try::Done;
                }
            }
            Purpose::ProbeNew(_) => self.probed_new(scene, answer),
            Purpose::Deliver => self.delivered(scene, answer),
            Purpose::ProbeOld(_) => self.probed_old(scene, answer, wants),
            Purpose::ProbeControl(_) => self.probed_control(scene, answer, wants),
            Purpose::ReadActor(_)
            | Purpose::List(_)
            | Purpose::MadeUp(..)
            | Purpose::Stop(_)
            | Purpose::Preserve(_) => {}
        }
    }

    /// The script has gone on meanwhile; what came is evidence all the same, and no bytes are lost.
    fn answered_late(
        &mut self,
        scene: &Scene<'_>,
        id: SecretId,
        purpose: &Purpose,
        answer: Answer,
    ) {
        match (purpose, answer) {
            (Purpose::Issue { way, step }, Answer::Issued(holding)) => {
                self.new.absorb(id, &holding);
                let steps =
                    scene.ways(Verb::Issue).get(usize::from(*way)).map_or(0, |w| w.steps.len());
                if usize::from(*step) + 1 >= steps {
                    self.issued = Issued::Yes;
                }
            }
            (Purpose::ProbeNew(_), Answer::Saw(Liveness::Alive(who), values)) => {
                self.new.learn(&values);
                self.new_identity = Some(who);
            }
            (Purpose::Deliver, Answer::Placed(placed)) => {
                self.placed = placed;
                self.deliver = Try::Done;
            }
            (Purpose::ProbeOld(_), Answer::Saw(Liveness::Alive(_), _)) => {
                self.saw_old_accepted(scene.wall);
            }
            _ => {}
        }
    }

    fn took_read(&mut self, id: SecretId, answer: Answer) {
        self.read = match Outcome::from(answer) {
            Outcome::Brought(holding) => {
                self.old.absorb(id, &holding);
                Try::Done
            }
            Outcome::Refused(why) | Outcome::NotSent(why) | Outcome::Lost(why) => Try::Failed(why),
            _ => Try::Failed(Reason::Unreadable.into()),
        };
    }

    fn looked_at_old(&mut self, scene: &Scene<'_>, answer: Answer, wants: &mut Vec<Want>) {
        let (seen, values) = liveness(answer);
        let Some(seen) = self.look_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::Baseline(self.look_layers.next);
            wants.push(Want { purpose, lane: Lane::Baseline });
            return;
        };
        self.look = Try::Done;
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) => {
                self.saw_old_accepted(scene.wall);
                self.learn_from_probe(&values);
                if !who.0.is_empty() {
                    self.identity.get_or_insert(who);
                }
            }
            // After the revocation was sent, a refusal says nothing of the time before it.
            Liveness::Dead { .. } if self.before.is_none() && self.revoke == Revoke::None => {
                self.before = Some(Before::Refused);
                self.saw_old_refused(scene.wall);
            }
            Liveness::Dead { .. } => {}
            Liveness::Unclear(why) => {
                self.before.get_or_insert(Before::Unknown);
                self.look = Try::Failed(why);
                self.look_again(scene);
            }
        }
    }

    /// Outside an incident a second look costs nothing.
    fn look_again(&mut self, scene: &Scene<'_>) {
        const LOOKS: u32 = 3;
        if !scene.plan.mode.contains() && self.steps.failures < LOOKS {
            self.steps.failures += 1;
            self.look = Try::Todo;
        }
    }

    fn learn_from_probe(&mut self, values: &Values) {
        if self.old.handle.is_none() {
            self.old.handle = values.get("handle").and_then(text);
        }
        for (name, value) in values {
            if name != "handle" {
                self.taken.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if self.old.handle.is_some() && self.find == Try::Todo {
            self.find = Try::Done;
        }
    }

    fn learned(&mut self, scene: &Scene<'_>, step: u16, answer: Answer, wants: &mut Vec<Want>) {
        let steps = scene.ways(Verb::Learn).first().map_or(0, |way| way.steps.len());
        match Outcome::from(answer) {
            Outcome::Done(values) => {
                if self.old.handle.is_none() {
                    self.old.handle = values.get("handle").and_then(text);
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
            Outcome::Refused(why) | Outcome::NotSent(why) | Outcome::Lost(why) => {
                self.learn = Try::Failed(why);
            }
            Outcome::Gone | Outcome::Brought(_) | Outcome::Throttled(_) => {
                self.learn = Try::Failed(Reason::Unexpected.into());
            }
        }
    }

    /// Exactly one row that matches, from a list that was read to its end; never by position.
    fn found_handle(&mut self, answer: Answer) {
        self.find = match answer {
            Answer::Found { rows, complete: true } => {
                let mut hinted = rows.into_iter().filter(|row| row.hinted);
                match (hinted.next(), hinted.next()) {
                    (Some(row), None) => {
                        self.known |= row.revoked;
                        self.old.handle = Some(row.handle);
                        Try::Done
                    }
                    _ => Try::Failed(Reason::MissingValue.into()),
                }
            }
            Answer::Found { .. } => Try::Failed(Reason::TooLong.into()),
            Answer::Fault(Fault::Refused(why) | Fault::NotSent(why) | Fault::Unknown(why)) => {
                Try::Failed(why)
            }
            _ => Try::Failed(Reason::Unexpected.into()),
        };
    }

    fn generated(&mut self, scene: &Scene<'_>, id: SecretId, answer: Answer) {
        self.steps.flying = false;
        match Outcome::from(answer) {
            Outcome::Brought(holding) => self.new.absorb(id, &holding),
            Outcome::Refused(why) => self.issued = Issued::Failed(why),
            Outcome::NotSent(why) | Outcome::Lost(why) => self.retry(scene, why),
            _ => self.issued = Issued::Failed(Reason::Unsupported.into()),
        }
    }

    fn issue_step(&mut self, scene: &Scene<'_>, id: SecretId, answer: Answer, verb: Verb) {
        self.steps.flying = false;
        self.steps.sent += 1;
        match Outcome::from(answer) {
            Outcome::Brought(holding) => {
                self.new.absorb(id, &holding);
                self.issue_step_done(scene, verb);
            }
            Outcome::Done(values) => {
                self.new.learn(&values);
                self.issue_step_done(scene, verb);
            }
            // The credential that should mint the new one was spent by somebody else: news.
            Outcome::Gone => {
                let why = Why::from(Reason::SomebodyElse);
                self.steps.why = Some(why.clone());
                self.issued = Issued::Failed(why);
            }
            Outcome::NotSent(why) => self.retry_or_fail(scene, why),
            Outcome::Throttled(_) => {}
            Outcome::Lost(why) => {
                if scene.may_send_again(verb, self.steps.way, self.steps.step) {
                    self.retry_or_fail(scene, why);
                } else {
                    self.steps = Steps { why: Some(why), ..Steps::default() };
                    self.issued = Issued::Looking;
                }
            }
            Outcome::Refused(why) => self.next_way(why),
        }
    }

    fn issue_step_done(&mut self, scene: &Scene<'_>, verb: Verb) {
        if !self.step_done(scene, verb) {
            return;
        }
        self.issued = Issued::Yes;
        if verb == Verb::Roll {
            self.rolled = true;
            self.accept_revocation(scene);
        }
    }

    fn looked_for_issued(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.steps.flying = false;
        let Answer::Found { rows, complete: true } = answer else {
            self.steps.failures += 1;
            self.steps.next = scene.now.plus(LIST_PAUSE_MS);
            return;
        };
        let label = scene.label(self);
        let ours = |row: &Row| row.label.as_deref() == Some(label.as_str());
        for row in rows.into_iter().filter(ours) {
            self.orphan(row);
        }
        self.steps = Steps { why: self.steps.why.take(), ..Steps::default() };
        self.looked = true;
    }

    /// Notes an orphan once.
    pub(crate) fn orphan(&mut self, row: Row) {
        if self.orphans.iter().all(|known| known.handle != row.handle) {
            self.orphans.push(OrphanFound {
                handle: row.handle,
                label: row.label,
                revoked: false,
                given_up: false,
            });
        }
    }

    fn orphan_step(&mut self, scene: &Scene<'_>, handle: &str, answer: Answer) {
        self.steps.flying = false;
        match Outcome::from(answer) {
            Outcome::Done(_) | Outcome::Brought(_) | Outcome::Gone => {
                if self.step_done(scene, Verb::Revoke) {
                    for orphan in self.orphans.iter_mut().filter(|one| one.handle == handle) {
                        orphan.revoked = true;
                    }
                    self.steps = Steps { why: self.steps.why.take(), ..Steps::default() };
                }
            }
            Outcome::Throttled(_) => {}
            Outcome::NotSent(why) | Outcome::Lost(why) | Outcome::Refused(why) => {
                self.steps.failures += 1;
                self.steps.next = scene.now.plus(Self::pause(self.steps.failures));
                if self.steps.failures > 3 {
                    for orphan in self.orphans.iter_mut().filter(|one| one.handle == handle) {
                        orphan.given_up = true;
                    }
                    self.steps = Steps { why: Some(why), ..Steps::default() };
                }
            }
        }
    }

    fn revoke_step(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.steps.flying = false;
        // What was certainly not sent is no sending.
        let outcome = Outcome::from(answer);
        if !matches!(outcome, Outcome::NotSent(_)) {
            self.steps.sent += 1;
        }
        match outcome {
            Outcome::Done(values) => {
                self.taken.extend(values);
                if self.step_done(scene, Verb::Revoke) {
                    self.accept_revocation(scene);
                }
            }
            Outcome::Brought(_) | Outcome::Gone => {
                if self.step_done(scene, Verb::Revoke) {
                    self.accept_revocation(scene);
                }
            }
            Outcome::NotSent(why) => self.retry(scene, why),
            Outcome::Throttled(_) => {}
            Outcome::Lost(why) => {
                if scene.may_send_again(Verb::Revoke, self.steps.way, self.steps.step) {
                    self.retry(scene, why);
                } else {
                    self.revoke = Revoke::Lost;
                    self.revoke_why = Some(why);
                    self.steps.next = scene.now.plus(scene.kind.can.proof.give_up_ms);
                }
            }
            Outcome::Refused(why) => {
                self.revoke_why = Some(why.clone());
                self.next_way(why);
            }
        }
    }

    fn accept_revocation(&mut self, scene: &Scene<'_>) {
        self.revoke = Revoke::Accepted;
        self.revoked.get_or_insert((scene.now, scene.wall));
    }

    /// A step whose values matter to nobody; true when the verb is done.
    fn plain_step(&mut self, scene: &Scene<'_>, verb: Verb, answer: Answer) -> bool {
        self.steps.flying = false;
        self.steps.sent += 1;
        match Outcome::from(answer) {
            Outcome::Done(_) | Outcome::Brought(_) | Outcome::Gone => {
                let done = self.step_done(scene, verb);
                if done {
                    // Past the last way: the walk ends.
                    self.steps.way = u16::MAX;
                }
                return done;
            }
            Outcome::Throttled(_) => {}
            Outcome::NotSent(why) | Outcome::Lost(why) => self.retry(scene, why),
            Outcome::Refused(why) => self.next_way(why),
        }
        false
    }

    /// Moves to the next step; true when there is none.
    fn step_done(&mut self, scene: &Scene<'_>, verb: Verb) -> bool {
        self.steps.failures = 0;
        self.steps.next = scene.now;
        self.steps.step += 1;
        let way = scene.ways(verb).get(usize::from(self.steps.way));
        way.is_none_or(|way| usize::from(self.steps.step) >= way.steps.len())
    }

    fn next_way(&mut self, why: Why) {
        self.steps = Steps {
            way: self.steps.way + 1,
            sent: self.steps.sent,
            why: Some(why),
            ..Steps::default()
        };
    }

    fn retry(&mut self, scene: &Scene<'_>, why: Why) {
        self.steps.next = scene.now.plus(Self::pause(self.steps.failures));
        self.steps.failures += 1;
        self.steps.why = Some(why);
    }

    fn retry_or_fail(&mut self, scene: &Scene<'_>, why: Why) {
        if scene.now.since(self.since) >= scene.kind.can.proof.give_up_ms {
            self.issued = Issued::Failed(why);
        } else {
            self.retry(scene, why);
        }
    }

    fn probed_new(&mut self, scene: &Scene<'_>, answer: Answer) {
        let throttled = matches!(answer, Answer::Fault(Fault::Throttled(_)));
        let (seen, values) = liveness(answer);
        self.steps.flying = false;
        if throttled {
            return;
        }
        let Some(seen) = self.new_layers.take(seen, scene.layers()) else { return };
        self.new_layers = Layers::default();
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) => {
                self.new.learn(&values);
                self.new_identity = Some(who);
            }
            Liveness::Dead { .. } => self.retry(scene, Reason::Refused.into()),
            Liveness::Unclear(why) => self.retry(scene, why),
        }
    }

    fn delivered(&mut self, scene: &Scene<'_>, answer: Answer) {
        match answer {
            Answer::Placed(placed) => {
                self.placed = placed;
                self.deliver = Try::Done;
            }
            Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why)) => {
                self.deliver = Try::Todo;
                self.retry(scene, why);
            }
            Answer::Fault(Fault::Refused(why)) => self.deliver = Try::Failed(why),
            Answer::Fault(Fault::Throttled(_)) => self.deliver = Try::Todo,
            _ => self.deliver = Try::Failed(Reason::Unexpected.into()),
        }
        self.placed.retain(|place| place.state >= PlaceState::Written);
    }

    fn probed_old(&mut self, scene: &Scene<'_>, answer: Answer, wants: &mut Vec<Want>) {
        let (seen, _) = liveness(answer);
        let Some(seen) = self.old_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::ProbeOld(self.old_layers.next);
            wants.push(Want { purpose, lane: Lane::Refused });
            return;
        };
        self.proving = false;
        let same = |who: &Identity, before: &Option<Identity>| {
            who.0.is_empty() || before.as_ref().is_none_or(|known| known == who)
        };
        match seen {
            Liveness::Alive(who) | Liveness::Restricted(who) if same(&who, &self.identity) => {
                self.saw_old_accepted(scene.wall);
                if let Some(proof) = &mut self.proof {
                    proof.old_accepted(scene.now);
                }
            }
            Liveness::Dead { by_name } => {
                self.saw_old_refused(scene.wall);
                if let Some(proof) = &mut self.proof {
                    proof.old_refused(scene.now, by_name);
                }
            }
            // Accepted as somebody else, or nothing clear: no verdict.
            Liveness::Alive(_) | Liveness::Restricted(_) | Liveness::Unclear(_) => {
                if let Some(proof) = &mut self.proof {
                    proof.old_unclear(scene.now);
                }
            }
        }
    }

    fn probed_control(&mut self, scene: &Scene<'_>, answer: Answer, wants: &mut Vec<Want>) {
        let (seen, _) = liveness(answer);
        let Some(seen) = self.control_layers.take(seen, scene.layers()) else {
            let purpose = Purpose::ProbeControl(self.control_layers.next);
            wants.push(Want { purpose, lane: Lane::Prove });
            return;
        };
        self.proving = false;
        let Some(proof) = &mut self.proof else { return };
        match seen {
            Liveness::Alive(_) | Liveness::Restricted(_) => {
                self.steps.failures = 0;
                proof.control_accepted();
            }
            // The admin is a control only where this very probe accepts it.
            Liveness::Dead { .. } if self.control == ControlKind::Admin && !proof.opened() => {
                self.control = ControlKind::None;
                proof.lose_control();
            }
            Liveness::Unclear(why)
                if self.control == ControlKind::Admin
                    && !proof.opened()
                    && matches!(why.reason, Reason::NoClass | Reason::MissingValue) =>
            {
                self.control = ControlKind::None;
                proof.lose_control();
            }
            Liveness::Dead { .. } | Liveness::Unclear(_) => {
                proof.control_not_accepted();
                self.steps.failures += 1;
                self.steps.next =
                    scene.now.plus(CONTROL_PAUSE_MS.max(Self::pause(self.steps.failures)));
            }
        }
    }
}

impl Scene<'_> {
    /// Layers of this kind's probe.
    pub(crate) fn layers(&self) -> u16 {
        u16::try_from(self.ways(Verb::Probe).len()).unwrap_or(u16::MAX)
    }

    /// Whether the same call may be sent again after a lost answer.
    fn may_send_again(&self, verb: Verb, way: u16, step: u16) -> bool {
        self.ways(verb)
            .get(usize::from(way))
            .and_then(|way| way.steps.get(usize::from(step)))
            .is_some_and(|step| step.again)
    }

    /// The label of what this credential issues now: its own for every try after a lost answer.
    pub(crate) fn label(&self, machine: &Machine) -> String {
        let number = self.subject.0;
        match machine.attempts {
            0 => format!("{}-{number}", self.plan.label),
            tries => format!("{}-{number}-{tries}", self.plan.label),
        }
    }
}
