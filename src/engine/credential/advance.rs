//! What a credential wants next: one match over the phases of its script.

use super::{BASELINE_MS, Machine};
use crate::engine::plan::Phase;
use crate::engine::scene::{Scene, Want};

/// Whether a phase is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It is.
    Next,
    /// It is not, or the machine has closed.
    Wait,
}

impl Machine {
    /// Walks on as far as it can, and says what it wants on the way.
    pub(in crate::engine) fn advance(&mut self, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        self.wake = None;
        if self.is_in_its_place(scene) {
            return;
        }
        if !self.closed && !scene.stopping {
            self.gather(scene, wants);
        }
        while let Some(phase) = self.phase(&scene.planned.phases) {
            if scene.stopping && !self.is_ending_something(phase) {
                self.leave();
                return;
            }
            let flow = match phase {
                Phase::Baseline => self.baseline(scene, wants),
                Phase::Issue => self.issue(scene, wants),
                Phase::Roll => self.roll(scene, wants),
                Phase::ProveNew => self.prove_new(scene, wants),
                Phase::Deliver => self.deliver(scene, wants),
                Phase::Finish => self.finish(scene, wants),
                Phase::Revoke => self.revoke(scene, wants),
                Phase::Evict => self.evict(scene, wants),
                Phase::ProveOld => self.prove_old(scene, wants),
                Phase::Sweep => self.sweep(scene, wants),
            };
            match flow {
                _ if self.closed => return,
                Flow::Wait => {
                    self.prove_beside(phase, scene, wants);
                    return;
                }
                Flow::Next => self.next_phase(scene.now),
            }
        }
        self.leave();
    }

    /// What an earlier run left may stand in its place all the same, and is ended there. Until
    /// the place was read nobody knows: it waits as long as for a look, and no kill waits longer.
    fn is_in_its_place(&mut self, scene: &Scene<'_>) -> bool {
        let of = scene.planned.left_of.filter(|_| !self.closed && self.at == 0);
        let Some(of) = of.and_then(|of| scene.machines.get(of.0 as usize)) else { return false };
        let end = self.since.plus(BASELINE_MS);
        if !of.read.settled() && scene.now < end {
            self.wake_by(end);
            return true;
        }
        let same = of.read.settled() && of.old.fingerprint == self.old.fingerprint;
        if same {
            self.leave();
        }
        same
    }

    /// Everything this credential still wants is dropped: it is through, a person stopped the run,
    /// or `--wait` is over.
    pub(in crate::engine) fn leave(&mut self) {
        self.closed = true;
        self.wake = None;
    }

    /// After a person has said stop, what is being ended is ended, and nothing is begun.
    fn is_ending_something(&self, phase: Phase) -> bool {
        match phase {
            Phase::Revoke => self.steps.taken_up(),
            Phase::Roll => self.issue.asked || self.issue.step > 0,
            Phase::Evict | Phase::Finish => true,
            Phase::Baseline
            | Phase::Issue
            | Phase::ProveNew
            | Phase::Deliver
            | Phase::ProveOld
            | Phase::Sweep => false,
        }
    }

    /// Nothing that ends the old one is still to come: its proof can go on beside whatever else
    /// takes its time (an issue may wait an hour for a person).
    fn prove_beside(&mut self, phase: Phase, scene: &Scene<'_>, wants: &mut Vec<Want>) {
        let left = scene.phases_from(self.at);
        let ends = |phase: &Phase| {
            matches!(
                phase,
                Phase::Baseline | Phase::Roll | Phase::Finish | Phase::Revoke | Phase::Evict
            )
        };
        if phase != Phase::ProveOld && left.contains(&Phase::ProveOld) && !left.iter().any(ends) {
            self.prove(scene, wants);
        }
    }

    /// Whether a phase is still to come after the one it is in.
    pub(super) fn comes_later(&self, scene: &Scene<'_>, phase: Phase) -> bool {
        scene.phases_from(self.at.saturating_add(1)).contains(&phase)
    }
}
