//! Unrecognised credentials that are to go: revoked by exact handle, one by one, and seen to be
//! gone by reading the provider's list again.

use super::super::call::{Answer, Subject, Time, Verb};
use super::super::credential::{Issued, Machine, Outcome, Purpose, Steps};
use super::super::plan::{Phase, Planned};
use super::super::queue::Lane;
use super::super::scene::{Scene, Want};
use super::super::stranger::{End, Spared};
use super::Run;

/// A list is read again so long after the last revocation, and doubling: providers need a moment.
const AGAIN_MS: u64 = 1_000;

/// The longest such pause, as for anything else that is waited for.
const LONGEST_AGAIN_MS: u64 = 10_000;

/// A revocation that does not reach its provider so often is left to a person.
const FAILURES: u32 = 4;

/// How often those that come while others are revoked are revoked too. Whoever mints faster than
/// that has a credential that this run does not know.
const ROUNDS: u32 = 5;

impl Run {
    /// What is to be done about the strangers of this credential's list, if it is the one that
    /// acts for all; when it wants to be asked again.
    pub(super) fn end_strangers(&mut self, subject: Subject) -> Option<Time> {
        if !self.plan.revoke_strangers || self.stopping || self.left {
            return None;
        }
        let list = self.lists.number(subject)?;
        let closed = self.machines.get(subject.0 as usize).is_none_or(|machine| machine.closed);
        if closed || self.heir(self.lists.members(list)) != Some(subject) {
            return None;
        }
        let waits = self.choose_strangers(list, subject);
        let wake = self.revoke_strangers(list, subject);
        let again = self.look_again(list, subject);
        [waits, wake, again].into_iter().flatten().min()
    }

    /// Decides about those that nobody has looked at yet.
    fn choose_strangers(&mut self, list: u32, heir: Subject) -> Option<Time> {
        let (strangers, ending) = self.lists.ending(list)?;
        let mut new: Vec<_> = strangers
            .iter()
            .enumerate()
            .filter(|(_, it)| matches!(it.end, End::Untouched | End::Waiting))
            .map(|(at, it)| (at, it.clone()))
            .collect();
        if new.is_empty() {
            return None;
        }
        let rounds = ending.rounds + u32::from(ending.readings.0 > 0);
        let making = self.others_make(heir);
        let mut waits = None;
        for (_, stranger) in &mut new {
            stranger.end = match stranger.is_spared(&self.plan, self.started) {
                Some(spared) => End::Spared(spared),
                None if self.knows_anywhere(&stranger.row.handle) => End::Spared(Spared::Known),
                None if self.perhaps_ours(heir) => End::Spared(Spared::PerhapsOurs),
                None if making => {
                    waits = Some(self.now.plus(AGAIN_MS));
                    End::Waiting
                }
                None if rounds > ROUNDS => End::Spared(Spared::TooMany),
                None => End::Due(Steps::default()),
            };
        }
        let due = new.iter().any(|(_, it)| matches!(it.end, End::Due(_)));
        let now = self.now;
        let (strangers, ending) = self.lists.ending(list)?;
        if due {
            (ending.rounds, ending.moved_at) = (rounds, now);
        }
        for (at, decided) in new {
            if let Some(slot) = strangers.get_mut(at) {
                *slot = decided;
            }
        }
        waits
    }

    /// Asks for the next step of each that is due.
    fn revoke_strangers(&mut self, list: u32, heir: Subject) -> Option<Time> {
        let now = self.now;
        let mut due: Vec<_> = self.lists.ending(list)?.0.to_vec();
        let mut wants = Vec::new();
        let mut wake = None;
        for stranger in &mut due {
            let End::Due(steps) = &mut stranger.end else { continue };
            if steps.asked {
                continue;
            }
            if now < steps.next {
                wake = Some(wake.map_or(steps.next, |at: Time| at.min(steps.next)));
                continue;
            }
            let way = self.scene(heir, |scene, machine| scene.stranger_way(machine, steps));
            let Some(way) = way.flatten() else {
                let why = steps.why.take();
                stranger.end = why.map_or(End::Spared(Spared::NoWay), End::Failed);
                continue;
            };
            if way != steps.way {
                let refused = std::mem::take(&mut steps.refused);
                *steps = Steps { way, refused, ..Steps::default() };
            }
            steps.asked = true;
            let (handle, step) = (stranger.row.handle.clone(), steps.step);
            wants.push(Purpose::RevokeStranger { list, handle, way, step });
        }
        if let Some((strangers, _)) = self.lists.ending(list) {
            *strangers = due;
        }
        for purpose in wants {
            self.want(heir, Want { purpose, lane: Lane::Kill });
        }
        wake
    }

    /// Reads the list again once every revocation is over, until it shows them gone.
    fn look_again(&mut self, list: u32, heir: Subject) -> Option<Time> {
        let patience = self.scene(heir, |scene, _| scene.kind.can.proof.give_up_ms)?;
        let now = self.now;
        let (strangers, ending) = self.lists.ending(list)?;
        let due = strangers.iter().any(|it| matches!(it.end, End::Due(_) | End::Waiting));
        let sent = strangers.iter().any(|it| matches!(it.end, End::Sent { .. }));
        if due || !sent || ending.given_up {
            return None;
        }
        if now >= ending.moved_at.plus(patience) {
            ending.given_up = true;
            self.dirty.extend(self.lists.members(list).iter().copied());
            return None;
        }
        let next = ending.readings.1.max(ending.moved_at.plus(AGAIN_MS));
        if now < next {
            return Some(next);
        }
        let tries = ending.readings.0;
        let pause = AGAIN_MS.saturating_mul(1 << tries.min(16)).min(LONGEST_AGAIN_MS);
        ending.readings = (tries + 1, now.plus(pause));
        self.lists.ask_again(list, now);
        let purpose = Purpose::List { list, after: true };
        self.want(heir, Want { purpose, lane: Lane::Sweep });
        None
    }

    /// Takes the answer to a step of a stranger's revocation.
    pub(super) fn took_stranger(&mut self, purpose: &Purpose, heir: Subject, answer: Answer) {
        let Purpose::RevokeStranger { list, handle, way, step } = purpose else { return };
        let again = self.scene(heir, |scene, _| {
            let steps = scene.ways(Verb::Revoke).get(usize::from(*way)).map(|way| way.steps.len());
            let last = steps.is_none_or(|steps| usize::from(*step) + 1 >= steps);
            (last, scene.step(Verb::Revoke, *way, *step).is_some_and(|step| step.again))
        });
        let Some((last, again)) = again else { return };
        let now = self.now;
        self.dirty.extend(self.lists.members(*list).iter().copied());
        let Some((strangers, ending)) = self.lists.ending(*list) else { return };
        let Some(stranger) = strangers.iter_mut().find(|it| it.row.handle == *handle) else {
            return;
        };
        let End::Due(steps) = &mut stranger.end else { return };
        (steps.asked, steps.sent) = (false, false);
        match Outcome::from(answer) {
            Outcome::Done(_) | Outcome::Brought(_) | Outcome::Gone => {
                steps.step += 1;
                steps.failures = 0;
                if last {
                    stranger.end = End::Sent { accepted: true, listed: false };
                    ending.moved_at = now;
                }
            }
            Outcome::Throttled => {}
            Outcome::Refused(why) => {
                steps.refused.insert(*way);
                (steps.step, steps.failures, steps.why) = (0, 0, Some(why));
            }
            Outcome::Lost(_) if !again => {
                stranger.end = End::Sent { accepted: false, listed: false };
                ending.moved_at = now;
            }
            Outcome::NotSent(why) | Outcome::Lost(why) => {
                steps.next = now.plus(Machine::pause(steps.failures));
                steps.failures += 1;
                if steps.failures >= FAILURES {
                    stranger.end = End::Failed(why);
                }
            }
        }
    }

    /// A step of a stranger's revocation has left the line unsent.
    pub(super) fn dropped_stranger(&mut self, list: u32, handle: &str) {
        let Some((strangers, _)) = self.lists.ending(list) else { return };
        let stranger = strangers.iter_mut().find(|it| it.row.handle == handle);
        if let Some(End::Due(steps)) = stranger.map(|it| &mut it.end) {
            steps.asked = false;
        }
    }

    /// Whether this handle is known at any provider of the run: one account may stand under two
    /// names, and what one list shows the other's credential may have made.
    fn knows_anywhere(&self, handle: &str) -> bool {
        self.known.values().any(|known| known.contains(handle))
            || self.machines.iter().any(|machine| {
                [&machine.old, &machine.new].iter().any(|it| it.handle.as_deref() == Some(handle))
                    || machine.orphans.iter().any(|orphan| orphan.handle == handle)
            })
    }

    /// Credentials of the run at a provider that shares a host with this one's.
    fn neighbours(&self, heir: Subject) -> impl Iterator<Item = (&Planned, &Machine)> {
        let provider = |planned: &Planned| {
            let kind = self.plan.kind(planned.kind)?;
            self.plan.providers.iter().find(|it| it.id == kind.provider)
        };
        let own = self.plan.planned(heir).and_then(provider);
        self.plan.credentials.iter().zip(&self.machines).filter(move |(planned, _)| {
            own.zip(provider(planned)).is_none_or(|(own, other)| {
                own.id == other.id || own.hosts.iter().any(|host| other.hosts.contains(host))
            })
        })
    }

    /// Whether a new one whose handle nobody was told may stand in the list as a stranger.
    fn perhaps_ours(&self, heir: Subject) -> bool {
        self.neighbours(heir).any(|(_, it)| it.has_new() && it.new.handle.is_none())
    }

    /// Whether a new one may still come whose handle nobody knows yet.
    fn others_make(&self, heir: Subject) -> bool {
        self.neighbours(heir).any(|(planned, machine)| {
            let left = planned.phases.get(usize::from(machine.at)..).unwrap_or_default();
            let makes = left.iter().any(|phase| matches!(phase, Phase::Issue | Phase::Roll));
            let open = matches!(machine.issued, Issued::No | Issued::Looking);
            open && (machine.issue.sent || (makes && !machine.closed))
        })
    }
}

impl Scene<'_> {
    /// A way that ends what its handle names and nothing else.
    fn stranger_way(&self, machine: &Machine, steps: &Steps) -> Option<u16> {
        self.way_by_handle(&machine.taken, steps, |way| self.kind.can.kills_only_it(way))
    }
}
