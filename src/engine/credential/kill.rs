//! Revoke, finish and evict: what ends the old one and what was minted from it.

use super::advance::Flow;
use super::baseline::in_line_ms;
use super::walk::Walk;
use super::{Machine, NotSafe, Outcome, Try};
use crate::engine::call::{Answer, PlaceState, Reason, Time, Verb, Why};
use crate::engine::plan::Phase;
use crate::engine::queue::Lane;
use crate::engine::report::{Mode, Revoke};
use crate::engine::scene::{Scene, Want};

/// A burned admin credential goes at the latest this long after the start of a contain; what still
/// needed it becomes by hand.
const ADMIN_WAIT: Time = Time(60_000);

impl Machine {
    pub(super) fn revoke(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if matches!(self.revoke, Revoke::Accepted | Revoke::Lost) || self.rolled {
            return Flow::Next;
        }
        let begun = self.steps.begun() || (scene.around.leader_has_revoked && !self.alone);
        if scene.plan.mode == Mode::Rehearse
            && !begun
            && let Some(flow) = self.hold_back(scene)
        {
            return flow;
        }
        match scene.leader().filter(|_| !self.alone) {
            Some(leader) if scene.died_with(leader) => {
                self.revoke = Revoke::Accepted;
                self.revoked = leader.revoked;
                self.by_leader = true;
                return Flow::Next;
            }
            Some(_) if scene.around.leader_is_to_revoke => return Flow::Wait,
            _ => {}
        }
        if self.waits_for_others(scene) {
            return Flow::Wait;
        }
        let end = self.patience(scene, self.steps.failures);
        if scene.stopping && !self.steps.sent && self.steps.failures > 0 {
            self.leave();
            return Flow::Wait;
        }
        if scene.now >= end {
            self.revoke = self.unfinished();
            self.revoke_why = self.steps.why.clone();
            if self.steps.step > 0 {
                self.half_revoked = Some(self.steps.left_why());
            }
            return Flow::Next;
        }
        self.wake_by(end);
        match self.walk(scene, wants, Verb::Revoke, Lane::Kill) {
            Walk::Waiting => Flow::Wait,
            Walk::Exhausted(why) => {
                let refused = !self.steps.refused.is_empty();
                self.revoke = if refused { Revoke::Rejected } else { Revoke::ByHand };
                self.revoke_why = Some(why);
                Flow::Next
            }
        }
    }

    /// What a revocation is that ran out of time.
    pub(in crate::engine) fn unfinished(&self) -> Revoke {
        if self.steps.begun() {
            Revoke::Lost
        } else if !self.steps.refused.is_empty() {
            Revoke::Rejected
        } else {
            Revoke::NotSent
        }
    }

    /// Whether those that die with this one, or that need it as their admin, come first.
    fn waits_for_others(&mut self, scene: &Scene<'_>) -> bool {
        let contains = scene.plan.mode.contains();
        // Its revocation ends them all, and their own looks take no longer than that.
        let group_wait = self.since.plus(in_line_ms(scene));
        if contains && scene.around.group_pending && scene.now < group_wait {
            self.wake_by(group_wait);
            return true;
        }
        let serves_on = !scene.plan.gets_another_id(scene.subject);
        let switched = serves_on && self.new_identity.is_some() && !scene.around.in_use;
        let too_late = contains && scene.now >= ADMIN_WAIT;
        if scene.around.needed && !switched && !too_late && !self.steps.asked {
            if contains {
                self.wake_by(ADMIN_WAIT);
            }
            return true;
        }
        false
    }

    /// A rehearsal revokes nothing before the new one, and that of everything that dies with it,
    /// is proved and in use.
    fn hold_back(&mut self, scene: &Scene<'_>) -> Option<Flow> {
        if !scene.comes_before_revoke(Phase::Deliver) {
            return None;
        }
        let broken = scene.around.group_broken.then_some(NotSafe::GroupNotReplaced);
        let switched = scene.is_switched();
        if let Some(because) = self.not_safe_to_revoke(scene).or(broken).or(switched.err()) {
            self.stop_before_revoke(&scene.planned.phases, because);
            return Some(Flow::Next);
        }
        (scene.around.group_pending || switched == Ok(false)).then_some(Flow::Wait)
    }

    /// Why a rehearsal must not revoke the old one yet.
    fn not_safe_to_revoke(&self, scene: &Scene<'_>) -> Option<NotSafe> {
        let in_use = |state| matches!(state, PlaceState::Reloaded | PlaceState::InUse);
        if scene.journal_lost && !self.steps.taken_up() {
            Some(NotSafe::NotRecorded)
        } else if !self.has_new() {
            Some(NotSafe::NotIssued)
        } else if self.new_identity.is_none() {
            Some(NotSafe::NotProved)
        } else if self.deliver != Try::Done || self.placed.is_empty() {
            Some(NotSafe::NotInPlaces)
        } else if !self.placed.iter().all(|place| in_use(place.state)) {
            Some(NotSafe::NotReloaded)
        } else {
            None
        }
    }

    pub(super) fn finish(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if !self.rolled || scene.ways(Verb::Finish).is_empty() {
            return Flow::Next;
        }
        // In practice a grace is what keeps a place alive that still has the old one.
        if scene.plan.mode == Mode::Rehearse
            && let Some(because) = self.not_safe_to_revoke(scene)
        {
            self.stop_before_revoke(&scene.planned.phases, because);
            return Flow::Next;
        }
        match self.carry_out(scene, wants, Verb::Finish) {
            Walk::Exhausted(_) => Flow::Next,
            Walk::Waiting => Flow::Wait,
        }
    }

    pub(super) fn evict(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) -> Flow {
        if self.evict.settled() {
            return Flow::Next;
        }
        if scene.ways(Verb::Evict).is_empty() {
            self.evict = Try::Done;
            return Flow::Next;
        }
        match self.carry_out(scene, wants, Verb::Evict) {
            Walk::Exhausted(why) => {
                self.evict = Try::Failed(why);
                Flow::Next
            }
            Walk::Waiting => Flow::Wait,
        }
    }

    fn carry_out(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>, verb: Verb) -> Walk {
        let end = self.patience(scene, self.steps.failures);
        let stopped = scene.stopping && !self.steps.sent && self.steps.failures > 0;
        if scene.now >= end || stopped {
            return Walk::Exhausted(self.steps.left_why());
        }
        self.wake_by(end);
        self.walk(scene, wants, verb, Lane::Kill)
    }

    pub(super) fn revoke_step(&mut self, scene: &Scene<'_>, answer: Answer) {
        self.steps.back();
        match Outcome::from(answer) {
            Outcome::Done(values) => {
                self.taken.extend(values);
                if self.revoke_step_done(scene) {
                    self.half_revoked = None;
                }
            }
            // What half a way has disabled looks gone to the next.
            Outcome::Brought(_) | Outcome::Gone => drop(self.revoke_step_done(scene)),
            Outcome::NotSent(why) => self.retry(scene, Verb::Revoke, why),
            Outcome::Throttled => {}
            Outcome::Lost(why) => {
                self.steps.lost = true;
                self.revoke_lost_at = Some(scene.now);
                if scene.may_send_again(Verb::Revoke, self.steps.way, self.steps.step) {
                    self.retry(scene, Verb::Revoke, why);
                } else {
                    self.revoke = Revoke::Lost;
                    self.revoke_why = Some(why);
                }
            }
            Outcome::Refused(why) => {
                self.unreached = None;
                self.revoke_why = Some(why.clone());
                if self.steps.step > 0 {
                    self.half_revoked = Some(why.clone());
                }
                self.next_way(Verb::Revoke, why);
            }
        }
    }

    /// True when the way is through.
    fn revoke_step_done(&mut self, scene: &Scene<'_>) -> bool {
        self.unreached = None;
        let through = self.step_done(scene, Verb::Revoke);
        if through {
            self.revoked_way = Some(self.steps.way);
            self.accept_revocation(scene);
        }
        through
    }

    pub(super) fn accept_revocation(&mut self, scene: &Scene<'_>) {
        self.revoke = Revoke::Accepted;
        self.revoke_why = None;
        self.revoked = Some((scene.now, scene.wall));
    }

    /// A step of finish or evict; true when the verb is done.
    pub(super) fn plain_step(&mut self, scene: &Scene<'_>, verb: Verb, answer: Answer) -> bool {
        self.steps.back();
        match Outcome::from(answer) {
            Outcome::Done(values) => {
                self.taken.extend(values);
                self.plain_step_done(scene, verb)
            }
            Outcome::Brought(_) | Outcome::Gone => self.plain_step_done(scene, verb),
            Outcome::Throttled => false,
            Outcome::NotSent(why) => {
                self.retry(scene, verb, why);
                false
            }
            Outcome::Lost(why) => {
                if scene.may_send_again(verb, self.steps.way, self.steps.step) {
                    self.retry(scene, verb, why);
                } else {
                    self.give_up_ways(scene, verb, why);
                }
                false
            }
            Outcome::Refused(why) => {
                self.unreached = None;
                self.next_way(verb, why);
                false
            }
        }
    }

    fn plain_step_done(&mut self, scene: &Scene<'_>, verb: Verb) -> bool {
        self.unreached = None;
        let done = self.step_done(scene, verb);
        if done && verb == Verb::Finish {
            // The walk ends: one way was enough.
            self.give_up_ways(scene, verb, Reason::Unsupported.into());
        }
        done
    }

    /// A lost answer never moves on to the next way.
    fn give_up_ways(&mut self, scene: &Scene<'_>, verb: Verb, why: Why) {
        let ways = scene.ways(verb).len();
        self.steps.step = 0;
        self.steps.refused = (0..u16::try_from(ways).unwrap_or(u16::MAX)).collect();
        self.steps.why = Some(why);
    }
}
