//! What an issue made and lost, and how it is ended.

use super::call::{Row, Subject, Values, Verb};
use super::capability::Way;
use super::credential::{Machine, Steps};
use super::plan::Plan;
use super::scene::{Scene, names};

impl Scene<'_> {
    /// A way of revoking something by its handle alone, not signed by itself. Nothing else may die:
    /// a rehearsal needs the old one, and whoever lost one new one may hold another.
    pub(super) fn orphan_way(&self, taken: &Values, tried: &Steps) -> Option<u16> {
        self.way_by_handle(taken, tried, |way| self.kind.can.kills_only_it(way))
    }

    /// The same, where the way must also be one of these.
    pub(super) fn way_by_handle(
        &self,
        taken: &Values,
        tried: &Steps,
        one_of: impl Fn(&Way) -> bool,
    ) -> Option<u16> {
        let at_hand = |name: &String| {
            let acting = match name.split_once('.').unwrap_or((name, "")) {
                ("admin", which) => self.admin(which),
                ("client", _) => self.planned.client,
                _ => None,
            };
            acting.is_some_and(|acting| self.acting(acting).is_ok())
        };
        let known = |name: &String| {
            name == "handle" || self.planned.vars.contains_key(name) || taken.contains_key(name)
        };
        let fits = |way: &Way| {
            way.needs_handle()
                && way
                    .steps
                    .iter()
                    .all(|step| names(step).iter().all(at_hand) && step.needs.iter().all(known))
        };
        (0..)
            .zip(self.ways(Verb::Revoke))
            .find(|(number, way)| {
                !tried.refused.contains(number)
                    && !self.planned.ways_left_out.contains(number)
                    && fits(way)
                    && one_of(way)
            })
            .map(|(number, _)| number)
    }

    /// What an issue made whose answer was lost: by its label, else the one new handle.
    pub(super) fn made_here(&self, machine: &Machine, rows: Vec<Row>) -> Option<Row> {
        if self.lists_labels() {
            let label = self.label(machine.attempts);
            return rows
                .into_iter()
                .find(|row| !row.revoked && row.label.as_deref() == Some(label.as_str()));
        }
        let before = self.lists.before(self.subject)?;
        // A provider may list several kinds in one: what another issue made is not ours to end.
        let others_make = (0..).map(Subject).zip(self.machines).any(|(other, machine)| {
            other != self.subject
                && machine.makes_unanswered()
                && at_provider(self.plan, other, &self.kind.provider)
        });
        if others_make {
            return None;
        }
        let known = |handle: &str| self.known.is_some_and(|known| known.contains(handle));
        let noted = |handle: &str| machine.orphans.iter().any(|orphan| orphan.handle == handle);
        // A row that fits the old value is the old one, whatever a list forgot to show before.
        let mut new = rows.into_iter().filter(|row| {
            let told = row.revoked || row.hinted || before.contains(&row.handle);
            !told && !known(&row.handle) && !noted(&row.handle)
        });
        match (new.next(), new.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

/// Whether a credential of the run is this provider's.
pub(super) fn at_provider(plan: &Plan, subject: Subject, provider: &str) -> bool {
    let kind = plan.planned(subject).and_then(|planned| plan.kind(planned.kind));
    kind.is_some_and(|kind| kind.provider == provider)
}
