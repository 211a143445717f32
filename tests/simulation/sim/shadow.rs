//! The journal, read by somebody else while the run goes on: what it says must be what happens.

use std::collections::{BTreeMap, BTreeSet};

use rotate::drive::Driven;
use rotate::engine::call::{Event, Subject, Task, Time, Verb, What};
use rotate::engine::capability::Order;
use rotate::engine::plan::{Plan, Planned};
use rotate::engine::report::{Mode, Report, Verdict};
use rotate::engine::run::Run;
use rusqlite::{Connection, params};

use super::outside::{Inner, Outside};

/// Of a run of many credentials the report is folded after every so many writes.
const OF_MANY: u64 = 16;

pub(crate) struct Shadow {
    pub(crate) run: Run,
    id: String,
    seen: i64,
    writes: u64,
    torn: Option<i64>,
    /// Calls that the journal knows of, and whose answers it does not.
    open: BTreeMap<u64, Subject>,
}

impl Shadow {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            run: Run::new(plan.clone()),
            id: plan.run.clone(),
            seen: 0,
            writes: 0,
            torn: None,
            open: BTreeMap::new(),
        }
    }

    /// The last record is damaged: it is not read before it was written again.
    pub(crate) fn torn(&mut self, n: i64) {
        self.torn = Some(n);
    }

    /// Reads what was written since, and asks whether everything that must hold holds.
    pub(crate) fn follow(&mut self, disk: &Connection, outside: &Outside) {
        let mut select = disk
            .prepare_cached("SELECT n, at, json FROM record WHERE run = ?1 AND n > ?2 ORDER BY n")
            .expect("the journal's own columns");
        let rows: Vec<(i64, i64, String)> = select
            .query_map(params![self.id, self.seen], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .and_then(Iterator::collect)
            .expect("rows of the journal");
        let damaged = |n: i64, json: &str| {
            self.torn == Some(n) && serde_json::from_str::<Event>(json).is_err()
        };
        let whole = rows.iter().take_while(|(n, _, json)| !damaged(*n, json)).count();
        if whole == 0 {
            return;
        }
        let mut inner = outside.lock();
        let inner = &mut *inner;
        for (n, at, json) in rows.into_iter().take(whole) {
            self.seen = n;
            self.torn = self.torn.filter(|torn| *torn != n);
            inner.totals.events += 1;
            let event: Event = serde_json::from_str(&json).expect("an event as it was written");
            inner.tell(|| format!("   written {n}: {}", short(&json)));
            if let What::Answered(id, _) = &event.what {
                self.open.remove(&id.0);
            }
            if matches!(event.what, What::Resumed) {
                if let Some(expected) = &mut inner.watch.expected {
                    expected.clear();
                }
                self.open.clear();
            }
            if let Err(illegal) = self.run.handle(Time(at.cast_unsigned()), event) {
                inner.watch.broken("replay_equal", || illegal.to_string());
                return;
            }
            while let Some((id, call)) = self.run.poll() {
                if let (Some(subject), Task::Ask(request)) = (call.subject, &call.task)
                    && matches!(request.at.verb, Verb::Issue | Verb::Roll)
                {
                    self.open.insert(id.0, subject);
                }
                if let Some(expected) = &mut inner.watch.expected {
                    expected.insert(id, call);
                }
            }
        }
        self.writes += 1;
        let few = self.run.plan().credentials.len() <= 6;
        let many = OF_MANY.max(self.run.plan().credentials.len() as u64);
        if few || self.writes.is_multiple_of(many) {
            no_false_dead(&self.run.report(), inner);
        }
        rehearsal_never_without_a_key(self.run.plan(), inner);
    }

    /// Who asked for a new one and has no answer in the journal.
    pub(crate) fn unanswered(&self) -> BTreeSet<Subject> {
        self.open.values().copied().collect()
    }

    /// What the run came to must be what its journal comes to.
    pub(crate) fn ends(&self, driven: &Driven, outside: &Outside) {
        let inner = &mut *outside.lock();
        let report = driven.run.report();
        no_false_dead(&report, inner);
        if !driven.run.lost_its_journal() && driven.run != self.run {
            inner.watch.broken("replay_equal", || "the journal comes to another run".to_owned());
        }
    }
}

/// Nobody is called dead whom any machine of its provider accepts, now or later.
pub(crate) fn no_false_dead(report: &Report, inner: &mut Inner) {
    if report.mode == Mode::Restore {
        return;
    }
    for one in &report.credentials {
        let Some(old) = inner.watch.olds.get(&one.id).cloned() else { continue };
        let dead = matches!(one.old.verdict, Verdict::Dead | Verdict::AlreadyDead);
        if dead && inner.lives(&old) {
            let (verdict, why) = (one.old.verdict, &one.old.why);
            inner.watch.broken("no_false_dead", || format!("{} is {verdict:?}: {why}", one.id));
        }
    }
}

/// While it is rehearsed, every place holds a credential that works.
fn rehearsal_never_without_a_key(plan: &Plan, inner: &mut Inner) {
    if plan.mode != Mode::Rehearse {
        return;
    }
    for planned in plan.credentials.iter().filter(|it| can_overlap(plan, it)) {
        for place in planned.places.values().map(ToString::to_string) {
            let holds = inner.places.get(&place).cloned().unwrap_or_default();
            if !inner.lives(&holds) {
                let id = &planned.id;
                inner.watch.broken("rehearsal_never_without_a_key", || {
                    format!("{id} has {holds}, which is dead")
                });
            }
        }
    }
}

/// Whether old and new can work at once. Of a roll whose answer was lost nobody has the new one.
fn can_overlap(plan: &Plan, planned: &Planned) -> bool {
    let kind = plan.kind(planned.kind);
    kind.is_some_and(|kind| matches!(kind.can.order, Order::Any | Order::IssueFirst))
}

fn short(json: &str) -> &str {
    let end = (0..=200.min(json.len())).rev().find(|at| json.is_char_boundary(*at));
    &json[..end.unwrap_or(0)]
}
