//! One verb carried out: ways in order, steps in order, retries between them.

use super::{Machine, Purpose, Steps};
use crate::engine::call::{Reason, Time, Verb, Why};
use crate::engine::capability::{Actor, StepCapability, Way};
use crate::engine::queue::Lane;
use crate::engine::report::Revoke;
use crate::engine::scene::{Ready, Scene, Want, names};
use crate::engine::verdict::Before;

/// The first pause before something that did not reach its provider is tried again.
const RETRY_MS: u64 = 250;

/// The longest such pause: a provider that comes back is noticed within it.
const LONGEST_RETRY_MS: u64 = 10_000;

/// A better way whose credential is still being read is waited for this long before the next one
/// is taken: local reads take milliseconds.
const BETTER_WAY_MS: u64 = 2_000;

/// How a verb stands.
pub(super) enum Walk {
    /// Something is in line, under way, or to be tried again.
    Waiting,
    /// No way is left, and why.
    Exhausted(Why),
}

/// Which way a verb goes.
enum Choice {
    Way(u16),
    Later,
    None(Why),
}

impl Machine {
    /// The steps of a verb: those of issue and roll may go on in a later phase.
    pub(super) fn steps_of(&mut self, verb: Verb) -> &mut Steps {
        match verb {
            Verb::Issue | Verb::Roll => &mut self.issue,
            _ => &mut self.steps,
        }
    }

    /// Asks for the next call of a verb: ways in order, steps in order.
    pub(super) fn walk(
        &mut self,
        scene: &Scene<'_>,
        wants: &mut Vec<Want>,
        verb: Verb,
        lane: Lane,
    ) -> Walk {
        let Steps { asked, next, .. } = *self.steps_of(verb);
        if asked {
            return Walk::Waiting;
        }
        if scene.now < next {
            self.wake_by(next);
            return Walk::Waiting;
        }
        match scene.choose_way(self, verb) {
            Choice::Way(way) => {
                let steps = self.steps_of(verb);
                if way != steps.way {
                    steps.way = way;
                    steps.step = 0;
                    steps.failures = 0;
                }
                steps.asked = true;
                wants.push(Want { purpose: purpose(verb, way, steps.step), lane });
                Walk::Waiting
            }
            Choice::Later => {
                self.wake_by(self.since.plus(BETTER_WAY_MS).max(scene.now.plus(BETTER_WAY_MS)));
                Walk::Waiting
            }
            Choice::None(why) => Walk::Exhausted(self.steps_of(verb).why.clone().unwrap_or(why)),
        }
    }

    /// Moves to the next step; true when there is none.
    pub(super) fn step_done(&mut self, scene: &Scene<'_>, verb: Verb) -> bool {
        let now = scene.now;
        let steps = self.steps_of(verb);
        steps.failures = 0;
        steps.next = now;
        steps.step += 1;
        let way = scene.ways(verb).get(usize::from(steps.way));
        way.is_none_or(|way| usize::from(steps.step) >= way.steps.len())
    }

    /// A refusal moves on to the next way.
    pub(super) fn next_way(&mut self, verb: Verb, why: Why) {
        let steps = self.steps_of(verb);
        steps.refused.insert(steps.way);
        steps.step = 0;
        steps.failures = 0;
        steps.why = Some(why);
    }

    /// The same call is sent again after a pause.
    pub(super) fn retry(&mut self, scene: &Scene<'_>, verb: Verb, why: Why) {
        let now = scene.now;
        self.unreached.get_or_insert(now);
        let steps = self.steps_of(verb);
        steps.next = now.plus(Self::pause(steps.failures));
        steps.failures += 1;
        steps.why = Some(why);
    }

    /// The pause before the next try, doubling.
    pub(in crate::engine) fn pause(failures: u32) -> u64 {
        RETRY_MS.saturating_mul(1 << failures.min(16)).min(LONGEST_RETRY_MS)
    }

    /// When the time that this phase's provider may take is over: counted from the beginning of
    /// the phase, or from when nothing reached it any more if that was before. What stands in line
    /// for the provider's own limits is not given up.
    pub(super) fn patience(&self, scene: &Scene<'_>, failures: u32) -> Time {
        let begun =
            self.unreached.filter(|_| failures > 0).map_or(self.since, |at| at.min(self.since));
        begun.plus(scene.kind.can.proof.give_up_ms).plus(scene.line_ms)
    }
}

fn purpose(verb: Verb, way: u16, step: u16) -> Purpose {
    match verb {
        Verb::Issue => Purpose::Issue { way, step },
        Verb::Roll => Purpose::Roll { way, step },
        Verb::Finish => Purpose::Finish { way, step },
        Verb::Evict => Purpose::Evict { way, step },
        _ => Purpose::Revoke { way, step },
    }
}

impl Scene<'_> {
    /// Whether the answer went missing because the process died while a person was asked, for what
    /// no list shows.
    pub(super) fn was_asking(&self, verb: Verb, way: u16, why: &Why) -> bool {
        let asking = verb == Verb::Issue && self.waits_for_a_person(way);
        asking && why.reason == Reason::Crashed && self.ways(Verb::Find).is_empty()
    }

    /// Whether the same call may be sent again after a lost answer.
    pub(super) fn may_send_again(&self, verb: Verb, way: u16, step: u16) -> bool {
        self.step(verb, way, step).is_some_and(|step| step.again)
    }

    /// The first way whose credentials are at hand and that was not refused; a way that was begun
    /// is gone on with.
    fn choose_way(&self, machine: &Machine, verb: Verb) -> Choice {
        let steps = match verb {
            Verb::Issue | Verb::Roll => &machine.issue,
            _ => &machine.steps,
        };
        let mut later = false;
        let mut never = Why::from(Reason::Unsupported);
        let impatient = self.now.since(machine.since) >= BETTER_WAY_MS;
        let all = self.ways(verb);
        let begun = (steps.step > 0).then(|| usize::from(steps.way));
        let order = begun.into_iter().chain(0..all.len());
        for index in order {
            let (Some(way), Ok(number)) = (all.get(index), u16::try_from(index)) else { continue };
            let left_out = verb == Verb::Revoke && self.planned.ways_left_out.contains(&number);
            if left_out || steps.refused.contains(&number) {
                continue;
            }
            let from = if begun == Some(index) { usize::from(steps.step) } else { 0 };
            match self.way_ready(machine, verb, way, from) {
                Ready::Now => return Choice::Way(number),
                Ready::Later if !impatient || begun == Some(index) => return Choice::Later,
                Ready::Later => later = true,
                Ready::Never(why) => never = why,
            }
        }
        if later { Choice::Later } else { Choice::None(never) }
    }

    /// Whether step `from` of a way can be made, and the parties of all that follow.
    pub(in crate::engine) fn way_ready(
        &self,
        machine: &Machine,
        verb: Verb,
        way: &Way,
        from: usize,
    ) -> Ready {
        if self.spent_actor(machine, verb, way) {
            return Ready::Never(Reason::ActorRefused.into());
        }
        // What it would be rolled to is the old client's again.
        if verb == Verb::Roll && self.plan.replaced_client(self.planned).is_some() {
            return Ready::Never(Reason::Unsupported.into());
        }
        if hits_the_new_one(machine, verb, way) {
            return Ready::Never(Reason::HandleReused.into());
        }
        let mut ready = Ready::Now;
        for (index, step) in way.steps.iter().enumerate().skip(from) {
            let step_ready = if index == from {
                self.ready(machine, verb, step)
            } else {
                let bare = StepCapability { needs: Vec::new(), ..step.clone() };
                self.ready(machine, verb, &bare)
            };
            match step_ready {
                Ready::Now => {}
                Ready::Later => ready = Ready::Later,
                Ready::Never(why) => return Ready::Never(why),
            }
        }
        ready
    }

    /// A call that makes and is signed by an old one that was refused, or that we have revoked, is
    /// not sent: where families are watched for reuse it would kill the new ones.
    fn spent_actor(&self, machine: &Machine, verb: Verb, way: &Way) -> bool {
        let dead = machine.before == Some(Before::Refused)
            || matches!(machine.revoke, Revoke::Accepted | Revoke::Lost);
        dead && matches!(verb, Verb::Issue | Verb::Roll)
            && way.steps.iter().any(|step| {
                step.actor == Actor::Old || names(step).iter().any(|name| name == "old")
            })
    }
}

/// Some providers give the new one the old one's handle: no call by that handle is sent any more.
fn hits_the_new_one(machine: &Machine, verb: Verb, way: &Way) -> bool {
    matches!(verb, Verb::Revoke | Verb::Evict | Verb::Finish)
        && machine.keeps_handle()
        && way.needs_handle()
}
