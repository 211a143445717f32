//! What must hold when all is quiet; and what other people do meanwhile.

use std::collections::BTreeSet;

use rotate::engine::call::{Subject, Verb};
use rotate::engine::plan::{Phase, Plan};
use rotate::engine::report::{Mode, NewState, Report, StrangerState, Verdict};
use rotate::journal::Journal;

use super::bench::{CAPABILITIES, site_of};
use super::outside::{Inner, Outside, text};
use super::scenario::{Blow, Manners, Ms, Scenario};
use super::site::{By, Site};
use super::story::Story;

/// A run is over, all faults have stopped, and it was looked at once more: `first` is what the run
/// said, `last` what the look said.
pub(crate) fn of_all(story: &Story<'_>, mode: Mode, first: &Report, last: &Report) {
    let bytes = new_ones(story, &first.run);
    let inner = &mut *story.outside.lock();
    count(inner, last);
    no_false_alive_at_rest(inner, last);
    no_orphan(inner, first, &bytes);
    no_secret_lost(inner, first, &bytes);
    if first.exit_code == 0 {
        zero_means_zero(inner, first, mode);
    }
}

fn count(inner: &mut Inner, report: &Report) {
    for one in &report.credentials {
        match one.old.verdict {
            Verdict::Dead => inner.totals.dead += 1,
            Verdict::AlreadyDead => inner.totals.already_dead += 1,
            Verdict::Alive => inner.totals.alive += 1,
            _ => inner.totals.other_verdicts += 1,
        }
    }
}

/// `alive` is said only of what a probe would be accepted for.
fn no_false_alive_at_rest(inner: &mut Inner, report: &Report) {
    for one in &report.credentials {
        let Some(old) = inner.watch.olds.get(&one.id).cloned() else { continue };
        if one.old.verdict == Verdict::Alive && !inner.lives(&old) {
            let why = &one.old.why;
            inner.watch.broken("no_false_alive_at_rest", || format!("{} is dead: {why}", one.id));
        }
        if one.old.verdict == Verdict::Dead && inner.lives(&old) {
            let why = &one.old.why;
            inner.watch.broken("no_false_dead", || format!("{}, at rest: {why}", one.id));
        }
    }
}

/// A run ends by itself, and faults go on: `alive` is said of nothing that the probes had time to
/// see refused.
pub(crate) fn no_false_alive(inner: &mut Inner, report: &Report) {
    /// The longest pause between two probes of what still answers, and an answer that takes a
    /// slow call's time.
    const SEEN_WITHIN: Ms = 40_000;
    let now = inner.now();
    for one in report.credentials.iter().filter(|one| one.old.verdict == Verdict::Alive) {
        let Some(old) = inner.watch.olds.get(&one.id) else { continue };
        let found = inner.sites.iter().find_map(|site| Some((site, site.key(old)?)));
        let Some((site, key)) = found else { continue };
        // One ends by itself after the grace of its roll, one is used as rarely as can be.
        let unwatched = matches!(key.kind.as_str(), "rolling" | "refresh");
        let dead_long = !key.lives(now.saturating_sub(SEEN_WITHIN));
        if site.manners.answers_probes() && !unwatched && dead_long {
            let (id, why) = (one.id.clone(), one.old.why.clone());
            inner.watch.broken("no_false_alive", || format!("{id} is dead: {why}"));
        }
    }
}

/// Whatever a run made and lives is what the report says it is, or is named in it.
fn no_orphan(inner: &mut Inner, report: &Report, held: &BTreeSet<String>) {
    let now = inner.now();
    let named: BTreeSet<&str> = report
        .credentials
        .iter()
        .flat_map(|one| {
            let orphans = one.orphans.iter().map(|orphan| orphan.handle.as_str());
            let strangers = one.strangers.iter().map(|stranger| stranger.handle.as_str());
            orphans.chain(strangers).chain(one.new.handle.as_deref())
        })
        .collect();
    let told = report.credentials.iter().any(|one| {
        let perhaps = one.new.why.as_ref().is_some_and(|why| why.contains("perhaps issued"));
        perhaps
            || one
                .todo
                .iter()
                .any(|todo| todo.action.contains("rotate-") || todo.what.contains("lost"))
    });
    // Whoever is told to read a provider's list by hand reads our labels there.
    let by_hand = |site: usize| {
        let mut there = report.credentials.iter().filter(|one| site_of(&one.provider) == site);
        there.any(|one| one.todo.iter().any(|todo| todo.action.contains("read it by hand")))
    };
    let placed: BTreeSet<&String> = inner.places.values().collect();
    let sites = inner.sites.iter().enumerate().filter(|(site, _)| !by_hand(*site));
    let lost = sites.flat_map(|(_, site)| &site.keys).find(|key| {
        key.by == By::Us
            && key.lives(now)
            && key.revoked.is_none()
            && !named.contains(key.handle.as_str())
            && !held.contains(&key.secret)
            && !placed.contains(&key.secret)
            && !told
    });
    if let Some(key) = lost {
        let (handle, label) = (key.handle.clone(), key.label.clone());
        inner.watch.broken("no_orphan", || format!("{handle} ({label:?}) is nobody's"));
    }
}

/// What the report says is held is held, and works; what it says is delivered is in its place.
fn no_secret_lost(inner: &mut Inner, report: &Report, held: &BTreeSet<String>) {
    if report.journal_lost_at.is_some() {
        return;
    }
    let now = inner.now();
    for one in &report.credentials {
        let holds =
            matches!(one.new.state, NewState::Held | NewState::Escrowed | NewState::Delivered);
        let Some(handle) = one.new.handle.as_ref().filter(|_| holds) else { continue };
        let secrets: Vec<String> = inner
            .sites
            .iter()
            .flat_map(|site| &site.keys)
            .filter(|key| key.handle == *handle && key.by == By::Us && key.lives(now))
            .map(|key| key.secret.clone())
            .collect();
        let kept = |secret: &String| {
            held.contains(secret) || inner.places.values().any(|place| place == secret)
        };
        if !secrets.is_empty() && !secrets.iter().any(kept) {
            let (id, state) = (one.id.clone(), one.new.state);
            inner.watch.broken("no_secret_lost", || format!("{id} is {state:?} as {handle}"));
        }
    }
}

/// Nothing is left for anyone: nothing burned works, and nothing unknown lives that a list shows.
fn zero_means_zero(inner: &mut Inner, report: &Report, mode: Mode) {
    let now = inner.now();
    for one in &report.credentials {
        let Some(old) = inner.watch.olds.get(&one.id).cloned() else { continue };
        let session = inner.sites.iter().any(|site| site.sessions.contains(&old));
        if inner.lives(&old) || (session && mode != Mode::Rehearse) {
            let id = one.id.clone();
            inner.watch.broken("no_false_dead", || format!("exit code 0, and {id} works"));
        }
    }
    let strangers = report.credentials.iter().flat_map(|one| &one.strangers);
    if strangers.clone().any(|stranger| stranger.state == StrangerState::Untouched) {
        inner.watch.broken("no_false_dead", || format!("exit code 0, and a stranger, {now}"));
    }
}

/// No revocation leaves later than its provider's limits and its own look allow, whatever happens
/// at other providers.
pub(crate) fn kills_in_time(inner: &mut Inner, plan: &Plan, scenario: &Scenario) {
    let undisturbed = scenario.blows.iter().all(|(_, blow)| {
        matches!(blow, Blow::Attacker(_) | Blow::Responder(_) | Blow::Clock(_) | Blow::Second)
    });
    if !plan.mode.contains() || !undisturbed || scenario.wait.is_some() {
        return;
    }
    let all_healthy = scenario.sites.iter().all(Manners::is_healthy);
    for (number, planned) in (0..).map(Subject).zip(&plan.credentials) {
        let Some(kind) = plan.kind(planned.kind) else { continue };
        let site = site_of(&kind.provider);
        let Some(manners) = scenario.sites.get(site).filter(|it| it.is_healthy()) else { continue };
        let ends = planned.phases.iter().any(|it| matches!(it, Phase::Revoke | Phase::Roll));
        let by_call = [Verb::Revoke, Verb::Roll].iter().any(|it| kind.can.verbs.contains_key(it));
        let admin_burns = scenario.burned_admin && site == 0;
        if !ends || !by_call || planned.leader.is_some() || admin_burns {
            continue;
        }
        let there = plan
            .credentials
            .iter()
            .filter(|it| plan.kind(it.kind).is_some_and(|other| other.provider == kind.provider));
        let bound = manners.latest_kill(there.count() as u64) + 20 * scenario.disk;
        let at = inner.watch.kills.get(&number).copied();
        if at.is_none_or(|at| at > bound) {
            let invariant = match all_healthy {
                true => "kill_waits_for_nothing",
                false => "one_failure_delays_no_other",
            };
            let id = planned.id.clone();
            inner.watch.broken(invariant, || format!("{id}: {at:?}, not within {bound} ms"));
        }
    }
}

impl Manners {
    /// It does what it is asked, in its own time.
    fn is_healthy(&self) -> bool {
        self.answers() && self.refuses.is_none() && self.hangs.is_none()
    }

    /// Whoever uses a key there is told whether it is accepted, and a revoked one is refused
    /// everywhere within half the time that a proof goes on.
    fn answers_probes(&self) -> bool {
        let probes = [self.refuses, self.hangs].contains(&Some(Verb::Probe));
        self.answers() && !probes && self.lag + self.flaps < 60_000
    }

    /// Nothing gets lost on the way, and it is never shut.
    fn answers(&self) -> bool {
        let faults = self.lose_calls + self.lose_answers + self.late;
        faults == 0 && self.outage.is_none() && self.throttles.is_none()
    }

    /// When the last of so many revocations must have left: the look (2 s), the rest of the group
    /// (2 s), a successor that physics demands first (5 s), and the line at this provider.
    fn latest_kill(&self, count: u64) -> Ms {
        let call = 2 * self.latency.1;
        let line = call * (count / u64::from(self.in_flight) + 3);
        let rate = self.revokes.map_or(0, |most| 2_000 * (count / u64::from(most) + 1));
        9_000 + line + rate + 1_000
    }
}

/// The bytes that the journal of a run keeps.
fn new_ones(story: &Story<'_>, run: &str) -> BTreeSet<String> {
    let opened = Journal::open(&story.lab.state, run).and_then(|(journal, ..)| journal.secrets());
    opened.map(|all| all.iter().map(|(_, parts)| text(parts)).collect()).unwrap_or_default()
}

/// Nothing is in anybody's way any more: whatever a call can end is dead, of the first contain and
/// of the second.
pub(crate) fn of_second(story: &Story<'_>) {
    let inner = &mut *story.outside.lock();
    let olds = inner.watch.olds.clone();
    for (id, old) in &olds {
        let key = |(number, site): (usize, &Site)| {
            let kind = site.key(old)?.kind.clone();
            Some((number, kind, site.manners.lies))
        };
        let Some((site, kind, lies)) = inner.sites.iter().enumerate().find_map(key) else {
            continue;
        };
        let kind = CAPABILITIES.providers.get("p0").and_then(|provider| provider.kinds.get(&kind));
        let can = kind.is_some_and(|kind| !kind.ways(Verb::Revoke).is_empty());
        // Whose admin burned with the first is a person's to end.
        let helpless = story.scenario.burned_admin && site == 0;
        if can && !lies && !helpless && inner.lives(old) {
            inner.watch.broken("everything_closes", || format!("{id} works after a second"));
        }
    }
}

/// A restore: what it says is delivered lies in its place, and works.
pub(crate) fn of_restore(story: &Story<'_>, report: &Report) {
    let inner = &mut *story.outside.lock();
    for one in &report.credentials {
        if one.new.state != NewState::Delivered {
            continue;
        }
        let dead =
            one.new.delivered.iter().find(|placed| {
                inner.places.get(&placed.to).is_none_or(|secret| !inner.lives(secret))
            });
        if let Some(placed) = dead.map(|placed| placed.to.clone()) {
            let id = one.id.clone();
            inner.watch.broken("delivered_is_live", || format!("{id} in {placed} is dead"));
        }
    }
}

/// Somebody who holds the burned ones makes a key of their own with one that still works.
pub(crate) fn attacker(outside: &Outside, site: usize) {
    let inner = &mut *outside.lock();
    let (now, stamp) = (inner.now(), inner.stamp());
    let burned: Vec<String> = inner.watch.olds.values().cloned().collect();
    let Some(site) = inner.sites.get_mut(site) else { return };
    let works = burned
        .iter()
        .filter_map(|old| site.key(old))
        .find(|key| key.lives(now) && matches!(key.kind.as_str(), "key" | "parent" | "minter"));
    if let Some((kind, owner)) = works.map(|key| (key.kind.clone(), key.owner.clone())) {
        site.make(&kind, &owner, By::Attacker, Some("backup".to_owned()), stamp, None);
        inner.totals.attackers += 1;
    }
}

/// Another responder, of another installation, makes a key of theirs.
pub(crate) fn responder(outside: &Outside, site: usize) {
    let inner = &mut *outside.lock();
    let stamp = inner.stamp();
    let Some(site) = inner.sites.get_mut(site) else { return };
    let label = Some("rotate-theirs-r9-1".to_owned());
    site.make("key", "c0", By::Responder, label, stamp, None);
    inner.totals.responders += 1;
}
