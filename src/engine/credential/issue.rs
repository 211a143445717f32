//! Issue and roll: a new one is made once, and never again before somebody has looked.

use super::advance::Flow;
use super::walk::Walk;
use super::{Issued, Machine, NotSafe, OrphanFound, Outcome, Purpose, Side, Steps};
use crate::engine::call::{Answer, Fault, Reason, Row, SecretId, Time, Verb, Why};
use crate::engine::capability::Order;
use crate::engine::plan::Phase;
use crate::engine::proof::Proof;
use crate::engine::queue::Lane;
use crate::engine::report::{Mode, Revoke};
use crate::engine::scene::{Ready, Scene, Want};
use crate::engine::verdict::Now;

/// In contain, an issue or a roll that stands before the revocation gets one attempt and this
/// long.
pub(super) const FIRST_MS: u64 = 5_000;

/// How often an issue is made whose answers are lost: each costs an orphan.
const ISSUES: u32 = 3;

/// How often a list is read that does not show what was perhaps made, and what lies between: lists
/// lag behind.
const LOOKS: u32 = 2;
const LOOK_PAUSE_MS: u64 = 2_000;

/// How often a list is asked for that gets no answer.
const LIST_FAILURES: u32 = 3;

/// How often the end of an orphan is tried before it is left to a person.
const ORPHAN_FAILURES: u32 = 4;

/// How long an issue waits for the list that shows what was there before: one page of 20 s and a
/// bit.
const LIST_MS: u64 = 30_000;

/// How long the last list waits after a lost answer, so that what was made then stands in it.
/// Nobody promises how far a list lags behind; changes at AWS IAM were seen after 4 s, and half a
/// minute is far beyond that.
pub(in crate::engine) const SETTLE_MS: u64 = 30_000;

impl Machine {
    pub(super) fn issue(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if matches!(self.issued, Issued::Yes | Issued::Failed(_) | Issued::Lost(_)) {
            return Flow::Next;
        }
        if self.is_late_for_revoke(scene) || (self.hurries(scene) && scene.asks_a_person()) {
            return Flow::Next;
        }
        // One that is under way is waited for: a second one is never sent beside it.
        if self.issue.sent {
            return Flow::Wait;
        }
        // Nothing is made, and nobody asked, for what could not be put to use.
        if !self.issue.begun()
            && self.issued == Issued::No
            && let Err(because) = scene.may_be_written()
        {
            self.stop_before_revoke(&scene.planned.phases, because);
            return Flow::Next;
        }
        if self.issued == Issued::Looking {
            return self.look_for_issued(scene, wants);
        }
        if self.awaits_the_end(scene) {
            return Flow::Wait;
        }
        if let Some(why) = self.must_not_make(scene) {
            return self.not_issued(scene, why);
        }
        if scene.list_is_awaited() && scene.now.since(self.since) < LIST_MS {
            self.wake_by(self.since.plus(LIST_MS));
            return Flow::Wait;
        }
        if scene.kind.can.generates && self.new.secrets.is_empty() {
            return self.generate(scene, wants);
        }
        match self.walk(scene, wants, Verb::Issue, Lane::Make) {
            Walk::Exhausted(why) => self.not_issued(scene, why),
            Walk::Waiting => Flow::Wait,
        }
    }

    /// Where a revocation takes the new one with it, nothing new is made before the last one of
    /// the group is revoked and the old one is seen refused: a revocation that is still on its way
    /// may end what is made meanwhile, and one that has to be sent again would; so may one that was
    /// lost, until it can no longer arrive. Half the patience is for that, the other half for the
    /// issue.
    fn awaits_the_end(&mut self, scene: &Scene<'_>) -> bool {
        let can = &scene.kind.can;
        let end = self.since.plus(can.proof.give_up_ms / 2);
        if can.order == Order::RevokeFirst && scene.now < end {
            let settles = scene.group_settles().filter(|at| scene.now < *at);
            if scene.around.group_is_to_revoke || settles.is_some() {
                self.wake_by(settles.map_or(end, |at| at.min(end)));
                return true;
            }
        }
        let looks = self.revoke == Revoke::Accepted && scene.uses_old(self) && !self.proof_over;
        // Only a person's answer is waited for with the proof already under way.
        if can.order != Order::RevokeFirst || !looks || !scene.asks_a_person() {
            return false;
        }
        let now = self.proof.as_ref().map(Proof::now);
        if self.by_leader && now == Some(Now::Accepted) && !scene.would_end_a_new_one() {
            self.revoke_alone(scene);
            return true;
        }
        let refused = matches!(now, Some(Now::Refused | Now::RefusedForHold { .. }));
        if refused || scene.now >= end {
            return false;
        }
        self.wake_by(end);
        true
    }

    fn generate(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if scene.now < self.issue.next {
            self.wake_by(self.issue.next);
        } else if !self.issue.asked {
            self.issue.asked = true;
            wants.push(Want { purpose: Purpose::Generate, lane: Lane::Make });
        }
        Flow::Wait
    }

    pub(super) fn roll(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        match self.issued.clone() {
            Issued::No if self.is_late_for_revoke(scene) => return Flow::Next,
            Issued::No if self.issue.sent => return Flow::Wait,
            Issued::No => {}
            Issued::Yes => return Flow::Next,
            // One call does both, and nothing here can tell whether it did.
            Issued::Looking => {
                let why = self.issue.why.clone().unwrap_or_else(|| Reason::Timeout.into());
                self.missing += 1;
                self.issued = Issued::Lost(why);
                if !self.comes_later(scene, Phase::Revoke) {
                    self.revoke = Revoke::Lost;
                }
                return Flow::Next;
            }
            Issued::Lost(_) => return Flow::Next,
            Issued::Failed(_) => return self.not_rolled(scene),
        }
        if let Some(why) = self.must_not_make(scene) {
            self.issued = Issued::Failed(why);
            return self.not_rolled(scene);
        }
        match self.walk(scene, wants, Verb::Roll, Lane::Kill) {
            Walk::Exhausted(why) => {
                self.issued = Issued::Failed(why);
                self.not_rolled(scene)
            }
            Walk::Waiting => Flow::Wait,
        }
    }

    /// Contain goes on to whatever else ends it; a rehearsal leaves everything as it is.
    fn not_rolled(&mut self, scene: &Scene<'_>) -> Flow {
        if scene.plan.mode == Mode::Rehearse {
            self.stop_before_revoke(&scene.planned.phases, NotSafe::NotIssued);
            return Flow::Next;
        }
        if !self.comes_later(scene, Phase::Revoke) {
            let refused = !self.issue.refused.is_empty();
            self.revoke = if refused { Revoke::Rejected } else { Revoke::ByHand };
            self.revoke_why = self.issue.why.clone();
        }
        Flow::Next
    }

    /// In contain, before the revocation.
    pub(super) fn hurries(&self, scene: &Scene<'_>) -> bool {
        scene.plan.mode.contains() && self.comes_later(scene, Phase::Revoke)
    }

    fn is_late_for_revoke(&mut self, scene: &Scene<'_>) -> bool {
        if !self.hurries(scene) {
            return false;
        }
        let end = self.since.plus(FIRST_MS);
        if scene.now < end {
            self.wake_by(end);
        }
        scene.now >= end
    }

    /// Why nothing more is made; none while it may be.
    fn must_not_make(&mut self, scene: &Scene<'_>) -> Option<Why> {
        if scene.journal_lost {
            return Some(Reason::NotRecorded.into());
        }
        let end = self.patience(scene, self.issue.failures);
        if scene.now < end {
            self.wake_by(end);
            return None;
        }
        Some(self.issue.why.clone().unwrap_or_else(|| Reason::Timeout.into()))
    }

    /// Not made. What its first steps made is ours to end; what an earlier attempt made no list
    /// without labels shows for certain.
    fn not_issued(&mut self, scene: &Scene<'_>, why: Why) -> Flow {
        if self.issue.lost || (self.attempts > 0 && !scene.lists_labels()) {
            self.issue.why = Some(why);
            return self.lose();
        }
        self.disown_new();
        self.issued = Issued::Failed(why);
        Flow::Next
    }

    fn disown_new(&mut self) {
        if let Some(handle) = self.new.handle.take() {
            self.orphan(Row { handle, ..Row::default() });
        }
        self.new = Side::default();
    }

    /// After a lost answer nothing is sent again before the provider's own list was read.
    fn look_for_issued(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if self.issue.asked || self.end_orphans(scene, wants) {
            return Flow::Wait;
        }
        if self.looked >= LOOKS {
            return self.next_attempt(scene, wants);
        }
        if scene.now < self.issue.next {
            self.wake_by(self.issue.next);
            return Flow::Wait;
        }
        match scene.ways(Verb::Find).first().map(|way| scene.way_ready(self, Verb::Find, way, 0)) {
            Some(Ready::Now) if self.issue.failures < LIST_FAILURES => {
                self.issue.asked = true;
                wants.push(Want { purpose: Purpose::LookForIssued, lane: Lane::Make });
                Flow::Wait
            }
            Some(Ready::Later) if scene.now.since(self.since) < LIST_MS => {
                self.wake_by(self.since.plus(LIST_MS));
                Flow::Wait
            }
            _ => self.lose(),
        }
    }

    fn lose(&mut self) -> Flow {
        self.missing += 1;
        let why = self.issue.why.clone().unwrap_or_else(|| Reason::Timeout.into());
        self.issued = Issued::Lost(why);
        Flow::Next
    }

    fn next_attempt(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if self.attempts + 1 >= ISSUES {
            return self.lose();
        }
        self.attempts += 1;
        self.looked = 0;
        self.issued = Issued::No;
        self.new = Side::default();
        self.issue = Steps { why: self.issue.why.take(), ..Steps::default() };
        self.issue(scene, wants)
    }

    pub(super) fn generated(&mut self, scene: &Scene<'_>, id: SecretId, answer: Answer) {
        self.issue.back();
        match Outcome::from(answer) {
            Outcome::Brought(holding) => self.new.absorb(id, &holding),
            Outcome::Refused(why) => self.issued = Issued::Failed(why),
            Outcome::NotSent(why) | Outcome::Lost(why) => self.retry(scene, Verb::Issue, why),
            _ => self.issued = Issued::Failed(Reason::Unsupported.into()),
        }
    }

    pub(super) fn issue_step(
        &mut self,
        scene: &Scene<'_>,
        id: SecretId,
        answer: Answer,
        verb: Verb,
    ) {
        self.issue.back();
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
            Outcome::Gone => self.issued = Issued::Failed(Reason::SomebodyElse.into()),
            Outcome::NotSent(why) => self.retry(scene, verb, why),
            Outcome::Throttled => {}
            Outcome::Lost(why) if scene.was_asking(verb, self.issue.way, &why) => {
                self.ask_anew(scene, why);
            }
            Outcome::Lost(why) => {
                self.lost_at = Some(scene.now);
                if scene.may_send_again(verb, self.issue.way, self.issue.step) {
                    self.issue.lost = true;
                    self.retry(scene, verb, why);
                } else {
                    self.issue = Steps { why: Some(why), lost: true, ..Steps::default() };
                    self.issued = Issued::Looking;
                }
            }
            // A way that was begun has perhaps made something: it is not begun again elsewhere.
            Outcome::Refused(why) if self.issue.step > 0 => {
                self.not_issued(scene, why);
            }
            Outcome::Refused(why) => self.next_way(verb, why),
        }
    }

    /// Nearly all of the call that the crash cut was waiting for a person: the person is asked once
    /// more, under another label, with patience of its own. What may have been granted in the very
    /// instant of the crash is named in the report.
    fn ask_anew(&mut self, scene: &Scene<'_>, why: Why) {
        self.missing += 1;
        self.attempts += 1;
        self.since = scene.now;
        self.new = Side::default();
        self.issue = Steps { why: Some(why), ..Steps::default() };
    }

    fn issue_step_done(&mut self, scene: &Scene<'_>, verb: Verb) {
        self.unreached = None;
        if !self.step_done(scene, verb) {
            return;
        }
        self.new.find_handle(scene.handle_part());
        if verb == Verb::Roll {
            self.rolled = true;
            // A roll that brings no other id keeps the one it was asked for.
            if self.new.handle.is_none() {
                self.new.handle = self.old.handle.clone();
            }
            self.accept_revocation(scene);
        }
        if self.new.secrets.is_empty() {
            self.not_issued(scene, Reason::MissingValue.into());
        } else {
            self.issued = Issued::Yes;
        }
    }

    pub(super) fn looked_for_issued(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.issue.back();
        let rows = match answer {
            Answer::Found { rows, complete: true } => rows,
            Answer::Fault(Fault::Throttled(_)) => return,
            _ => {
                self.issue.failures += 1;
                self.issue.next = scene.now.plus(LOOK_PAUSE_MS);
                return;
            }
        };
        self.issue.next = scene.now.plus(LOOK_PAUSE_MS);
        match scene.made_here(self, rows) {
            Some(row) => {
                self.orphan(row);
                self.looked = LOOKS;
                self.issue.next = scene.now;
            }
            None => {
                self.looked += 1;
                // Nothing was made, as far as anybody can tell: its label is looked for at the end.
                self.missing += u32::from(self.looked == LOOKS);
            }
        }
    }

    /// Notes an orphan once.
    pub(in crate::engine) fn orphan(&mut self, row: Row) {
        if self.orphans.iter().all(|known| known.handle != row.handle) {
            self.orphans.push(OrphanFound {
                handle: row.handle,
                label: row.label,
                revoked: false,
                given_up: false,
            });
        }
    }

    /// Ends what this run made and lost the bytes of; true while that is under way.
    fn end_orphans(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> bool {
        if self.orphan.asked {
            return true;
        }
        if scene.now < self.orphan.next {
            self.wake_by(self.orphan.next);
            return true;
        }
        let in_use = self.new.handle.clone();
        while let Some(orphan) = self.orphans.iter_mut().find(|one| !one.revoked && !one.given_up) {
            let handle = orphan.handle.clone();
            let way = scene.orphan_way(&self.taken, &self.orphan);
            let Some(way) = way.filter(|_| in_use.as_ref() != Some(&handle)) else {
                orphan.given_up = true;
                self.orphan = Steps::default();
                continue;
            };
            if way != self.orphan.way {
                self.orphan =
                    Steps { way, refused: self.orphan.refused.clone(), ..Steps::default() };
            }
            self.orphan.asked = true;
            let purpose = Purpose::RevokeOrphan { handle, way, step: self.orphan.step };
            wants.push(Want { purpose, lane: Lane::Kill });
            return true;
        }
        false
    }

    pub(super) fn orphan_step(&mut self, scene: &Scene<'_>, handle: &str, answer: Answer) {
        self.orphan.back();
        let steps = scene.ways(Verb::Revoke).get(usize::from(self.orphan.way));
        let steps = steps.map_or(0, |way| way.steps.len());
        match Outcome::from(answer) {
            Outcome::Done(_) | Outcome::Brought(_) | Outcome::Gone => {
                self.orphan.step += 1;
                self.orphan.failures = 0;
                if usize::from(self.orphan.step) >= steps {
                    for orphan in self.orphans.iter_mut().filter(|one| one.handle == handle) {
                        orphan.revoked = true;
                    }
                    self.orphan = Steps::default();
                }
            }
            Outcome::Throttled => {}
            Outcome::Refused(_) => {
                let mut refused = std::mem::take(&mut self.orphan.refused);
                refused.insert(self.orphan.way);
                self.orphan = Steps { refused, ..Steps::default() };
            }
            Outcome::NotSent(_) | Outcome::Lost(_) => {
                self.orphan.failures += 1;
                self.orphan.next = scene.now.plus(Self::pause(self.orphan.failures));
                if self.orphan.failures >= ORPHAN_FAILURES {
                    for orphan in self.orphans.iter_mut().filter(|one| one.handle == handle) {
                        orphan.given_up = true;
                    }
                    self.orphan = Steps::default();
                }
            }
        }
    }

    /// Waits for the last list of its owner, and ends what that shows to be ours.
    pub(super) fn sweep(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        let settled = self.lost_at.map_or(Time(0), |at| at.plus(SETTLE_MS));
        if scene.now < settled {
            self.wake_by(settled);
            return Flow::Wait;
        }
        if self.uses_new_again(scene, wants) {
            return Flow::Wait;
        }
        self.ready_to_sweep = true;
        if !scene.swept {
            // Others may still be on their way; a list that was asked for comes in its time.
            let Some(asked) = scene.lists.asked(scene.subject) else { return Flow::Wait };
            let end = asked.plus(scene.kind.can.proof.give_up_ms);
            if scene.now < end {
                self.wake_by(end);
                return Flow::Wait;
            }
        }
        if self.end_orphans(scene, wants) { Flow::Wait } else { Flow::Next }
    }
}

impl Scene<'_> {
    /// Whether a revocation now would end something new, of this credential or of one that dies
    /// with it: where the order is `revoke-first`, a revocation knows no old and new.
    pub(super) fn would_end_a_new_one(&self) -> bool {
        let new = |machine: &Machine| machine.has_new() || machine.issue.sent;
        self.kind.can.order == Order::RevokeFirst && self.of_group().any(new)
    }

    /// When a revocation of the group that was lost on its way can no longer arrive.
    fn group_settles(&self) -> Option<Time> {
        self.of_group()
            .filter_map(|machine| machine.revoke_lost_at)
            .max()
            .map(|at| at.plus(SETTLE_MS))
    }

    fn of_group(&self) -> impl Iterator<Item = &Machine> {
        let leader = self.planned.leader.unwrap_or(self.subject);
        let group = self.lists.followers(leader).iter().copied().chain([leader]);
        group.filter_map(|at| self.machines.get(at.0 as usize))
    }
}
