//! The negative control: one made-up credential per kind, beside the first proof.

use std::collections::BTreeSet;

use super::super::call::{Answer, Fault, Liveness, Subject, Time, Verb};
use super::super::capability::Class;
use super::super::credential::{Layers, Purpose, seen};
use super::super::plan::{Phase, Planned, PlannedKind};
use super::super::queue::Lane;
use super::super::scene::{SightState, Want};
use super::super::verdict::Sight;
use super::Run;

/// How often it is tried when it gets no clear answer.
const TRIES: u32 = 5;

/// Between two such tries, milliseconds.
const PAUSE_MS: u64 = 2_000;

impl Run {
    pub(super) fn sight_for(&mut self, subject: Subject) {
        let Some(planned) = self.plan.planned(subject) else { return };
        let Some(kind) = self.plan.kind(planned.kind) else { return };
        if !planned.phases.contains(&Phase::ProveOld) {
            return;
        }
        let state = self.sights.entry(planned.kind).or_insert_with(|| begin(planned, kind));
        if state.sight.is_none() {
            state.waiting.insert(subject);
        }
    }

    /// What the negative control of a kind showed.
    pub(in crate::engine) fn sight(&self, kind: u32) -> Sight {
        self.sights.get(&kind).and_then(|state| state.sight).unwrap_or(Sight::Unknown)
    }

    pub(super) fn took_sight(&mut self, kind: u32, asker: Subject, answer: Answer) {
        let throttled = matches!(answer, Answer::Fault(Fault::Throttled(_)));
        let layers = self.scene(asker, |scene, _| scene.layers()).unwrap_or(1);
        let now = self.now;
        let Some(state) = self.sights.get_mut(&kind) else { return };
        state.flying = false;
        if throttled {
            // The same layer again; the account's own pause holds it back.
            state.next = now.plus(PAUSE_MS);
        } else {
            let (saw, _) = seen(answer);
            let Some(saw) = state.layers.take(saw, layers) else {
                let layer = state.layers.next;
                let purpose = Purpose::MadeUp(kind, layer);
                self.want(asker, Want { purpose, lane: Lane::Refused });
                return;
            };
            state.layers = Layers::new();
            match saw {
                Liveness::Dead { .. } => state.sight = Some(Sight::Sees),
                Liveness::Alive(_) | Liveness::Restricted(_) => state.sight = Some(Sight::Blind),
                Liveness::Unclear(_) => {
                    state.unclear += 1;
                    state.next = now.plus(PAUSE_MS);
                    if state.unclear >= TRIES {
                        state.sight = Some(Sight::Unknown);
                    }
                }
            }
        }
        if state.sight.is_some() {
            self.dirty.append(&mut state.waiting);
        } else {
            // Whoever is left asks next.
            self.dirty.extend(state.waiting.iter().copied());
        }
        self.dirty.insert(asker);
    }
}

fn begin(planned: &Planned, kind: &PlannedKind) -> SightState {
    let earlier = planned.earlier.as_ref().and_then(|earlier| earlier.sight);
    let allowed = match (kind.can.class, kind.limits.refused) {
        (_, Some(rate)) => rate.count > 0,
        // A lock-out is our own denial of service.
        (Class::Password, None) => false,
        (_, None) => true,
    };
    let sight = match earlier {
        Some(Sight::Sees) => Some(Sight::Sees),
        _ if !allowed || kind.can.ways(Verb::Probe).is_empty() => Some(Sight::NotAllowed),
        _ => None,
    };
    SightState {
        sight,
        flying: false,
        layers: Layers::new(),
        unclear: 0,
        next: Time(0),
        waiting: BTreeSet::new(),
    }
}
