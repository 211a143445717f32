//! What earlier runs know of the roles of a new one, and what they left behind.

use std::collections::{BTreeMap, BTreeSet};

use super::replay;
use crate::engine::call::{Identity, SecretId, Wall};
use crate::engine::leftover::{Leftover, LostIssue, credential_of};
use crate::engine::plan::{Earlier, KnownSide, Plan};
use crate::engine::report::Mode;
use crate::engine::run::Run;
use crate::journal::{Adopted, Header, Journal, State};

/// Facts of earlier runs, and the secrets they held.
#[derive(Default)]
#[non_exhaustive]
pub struct History {
    /// For [`crate::engine::plan::Options::earlier`]: by credential id, secrets named as the new
    /// run will know them.
    pub facts: BTreeMap<String, Earlier>,
    /// Those secrets, for [`Journal::begin`].
    pub adopted: Vec<Adopted>,
    /// Roles that are marked contained in the state directory.
    pub contained: Vec<String>,
    /// Handles that earlier runs issued, by provider.
    pub issued: BTreeMap<String, Vec<String>>,
    /// What the header of each role's own last run says beside its plan.
    pub details: Vec<(String, serde_json::Value)>,
    /// For [`Plan::take_over`]: what interrupted runs of these roles left behind.
    pub leftovers: Vec<Leftover>,
    /// For [`Plan::look_for`]: what they may have made besides.
    pub lost: Vec<LostIssue>,
    /// Those runs.
    pub interrupted: Vec<String>,
    /// Runs of these roles that cannot be read, and why. What they hold under seal is lost to the
    /// new one.
    pub unread: BTreeMap<String, String>,
    /// Credentials and fingerprints of what is left over: several runs may have left the same.
    left: BTreeSet<(String, String)>,
}

/// A run read back from its journal.
#[non_exhaustive]
pub struct Past {
    /// Its journal.
    pub journal: Journal,
    /// Record 0.
    pub header: Header,
    /// All that its events came to.
    pub run: Run,
}

impl Past {
    /// Reads a run and replays it; none where its journal cannot be used by this release.
    pub fn read(state: &State, run: &str) -> Option<Self> {
        let (journal, header, events) = Journal::open(state, run).ok()?;
        let mut run = Run::new(header.plan().ok()?);
        replay(&mut run, events).ok()?;
        Some(Self { journal, header, run })
    }

    /// Why a run cannot be read.
    pub(crate) fn unread(state: &State, run: &str) -> String {
        match Journal::open(state, run) {
            Err(error) => error.to_string(),
            Ok(_) => format!("run {run} was written by another release"),
        }
    }
}

/// Earlier runs, each read and replayed once: one may be the last of several roles, and have left
/// something alive besides.
struct Pasts<'a> {
    state: &'a State,
    read: BTreeMap<String, Option<Past>>,
}

impl Pasts<'_> {
    fn of(&mut self, run: &str) -> Option<&Past> {
        let read = self.read.entry(run.to_owned());
        read.or_insert_with(|| Past::read(self.state, run)).as_ref()
    }

    /// What is known of a run's credentials, by what verifies of it saw since; and which of these
    /// cannot be read.
    fn facts(&mut self, run: &str) -> Option<(BTreeMap<String, Earlier>, Vec<String>)> {
        let mut facts = self.of(run)?.run.facts();
        let mut unread = Vec::new();
        for verify in self.state.verifies_of(run).unwrap_or_default() {
            let Some(past) = self.of(&verify) else {
                unread.push(verify);
                continue;
            };
            for (id, seen) in past.run.facts() {
                if let Some(known) = facts.get_mut(&id) {
                    known.see_again(seen);
                }
            }
        }
        Some((facts, unread))
    }
}

impl History {
    /// What is known of these roles, for a new run of this mode. What cannot be read is not known.
    pub fn of(state: &State, mode: Mode, roles: &[String]) -> Self {
        let mut history = Self::default();
        // A verify is no run of its own: it tells what became of another.
        let modes: &[&str] = match mode {
            Mode::Restore => &["contain", "revoke-only", "restore"],
            _ => &["contain", "revoke-only", "restore", "rehearse"],
        };
        let mut pasts = Pasts { state, read: BTreeMap::new() };
        for role in roles {
            if state.contained(role).ok().flatten().is_some() {
                history.contained.push(role.clone());
            }
            let Ok(Some(last)) = state.latest(role, modes) else { continue };
            match pasts.of(&last.run) {
                Some(past) => history.details.push((role.clone(), past.header.details.clone())),
                None => history.not_read(state, last.run),
            }
        }
        history.take_facts(&mut pasts, mode, roles);
        for one in state.issued().unwrap_or_default() {
            let of_these = one.roles.iter().any(|role| roles.contains(role));
            // Whoever can neither deliver nor end it must be told that it lives.
            if one.sealed && of_these && pasts.of(&one.run).is_none() {
                history.not_read(state, one.run);
                continue;
            }
            history.issued.entry(one.provider).or_default().push(one.handle);
        }
        if mode.contains() {
            history.take_interrupted(state, roles);
            history.take_living(&mut pasts, roles);
            history.take_held(&mut pasts, roles);
        }
        history
    }

    /// Runs that cannot be read and are the last word on something of these roles, and why. What a
    /// later run had in hand since is not asked of them.
    pub(crate) fn untold(state: &State, roles: &[String]) -> BTreeMap<String, String> {
        let mut history = Self::default();
        let mut pasts = Pasts { state, read: BTreeMap::new() };
        history.take_facts(&mut pasts, Mode::Restore, roles);
        history.unread
    }

    /// Takes what earlier runs left behind into a contain that was planned with these facts, and
    /// says in any plan what is not known.
    pub fn taken_into(&self, plan: &mut Plan) {
        plan.take_over(&self.leftovers);
        plan.look_for(&self.lost);
        plan.warnings.extend(self.unread.iter().map(|(run, why)| {
            format!(
                "{why}: what it holds is not known here; look at its report: rotate report {run}"
            )
        }));
    }

    fn not_read(&mut self, state: &State, run: String) {
        let why = Past::unread(state, &run);
        self.unread.insert(run, why);
    }

    /// What the newest run says of each credential that had it in hand: one of `--only` a few is
    /// no word on the others.
    fn take_facts(&mut self, pasts: &mut Pasts<'_>, mode: Mode, roles: &[String]) {
        let runs = pasts.state.planned_for(roles).unwrap_or_default();
        let mut told = BTreeSet::new();
        // What a role of the intent holds is told by its own runs, where there are any.
        for own in [true, false] {
            for one in &runs {
                let concerns = |id: &&String| {
                    let owner = id.split_once('/').map_or("", |(owner, _)| owner);
                    let is = |role: &String| role == owner;
                    !told.contains(*id)
                        && (!own || one.roles.iter().any(is) || !roles.iter().any(is))
                };
                let ids: BTreeSet<_> = one.credentials.iter().filter(concerns).cloned().collect();
                if ids.is_empty() && !one.credentials.is_empty() {
                    continue;
                }
                // A rehearsal that came to its end is news to a restore, and holds nothing for it.
                let practice = mode == Mode::Restore && one.mode == Mode::Rehearse.word();
                let known = pasts.facts(&one.run);
                let (Some((mut facts, unread)), Some(past)) = (known, pasts.of(&one.run)) else {
                    if !practice {
                        self.not_read(pasts.state, one.run.clone());
                        told.extend(ids);
                    }
                    continue;
                };
                for (provider, handle) in issued(&past.run) {
                    self.issued.entry(provider).or_default().push(handle);
                }
                for verify in unread {
                    self.not_read(pasts.state, verify);
                }
                facts.retain(|id, known| ids.contains(id) && (!practice || known.delivered));
                told.extend(facts.keys().cloned());
                // A new run looks at all of that itself.
                facts.values_mut().for_each(|known| known.left = None);
                self.adopt_facts(&one.run, facts, mode == Mode::Restore);
            }
        }
    }

    /// What earlier runs issued and put nowhere: this one makes another.
    fn take_held(&mut self, pasts: &mut Pasts<'_>, roles: &[String]) {
        for (run, ids) in by_run(pasts.state.put_nowhere(roles).unwrap_or_default()) {
            let Some(past) = pasts.of(&run) else {
                self.not_read(pasts.state, run);
                continue;
            };
            let mut facts = past.run.facts();
            for id in ids {
                let Some(facts) = facts.remove(&id).filter(|facts| !facts.delivered) else {
                    continue;
                };
                self.leave_over(past, &id, facts.new, facts.new_accepted_as);
            }
        }
    }

    /// Old ones that were alive for all anybody knows when their runs came to their end. Where a
    /// new one was delivered since, no place holds them any more.
    fn take_living(&mut self, pasts: &mut Pasts<'_>, roles: &[String]) {
        for (run, ids) in by_run(pasts.state.perhaps_alive(roles).unwrap_or_default()) {
            let Some(past) = pasts.of(&run) else {
                self.not_read(pasts.state, run);
                continue;
            };
            let mut facts = past.run.facts();
            for id in ids {
                let Some(facts) = facts.remove(&id) else { continue };
                self.leave_over(past, &id, facts.old, facts.accepted_as);
            }
        }
    }

    fn leave_over(
        &mut self,
        past: &Past,
        id: &str,
        side: Option<KnownSide>,
        accepted_as: Option<Identity>,
    ) {
        let Some(mut side) = side.filter(|side| !side.secrets.is_empty()) else { return };
        // What that run had been left by another belongs to the same credential.
        let id = credential_of(id).to_owned();
        if self.left.insert((id.clone(), side.fingerprint.clone())) {
            let run = past.header.run.clone();
            self.rename(&mut side, &run, true);
            self.leftovers.push(Leftover { id, run, side, accepted_as });
        }
    }

    /// What runs held that never came to their end: an old one not yet revoked, a new one issued.
    fn take_interrupted(&mut self, state: &State, roles: &[String]) {
        for open in state.runs().unwrap_or_default() {
            let of_these = open.roles.iter().any(|role| roles.contains(role));
            if open.closed.is_some() || !of_these || open.mode == Mode::Verify.word() {
                continue;
            }
            let Some(past) = Past::read(state, &open.run) else {
                self.not_read(state, open.run);
                continue;
            };
            for (id, facts) in past.run.facts() {
                if facts.lost {
                    let label = past.run.plan().label.clone();
                    self.lost.push(LostIssue { id: id.clone(), label });
                }
                self.leave_over(&past, &id, facts.old, facts.accepted_as);
                self.leave_over(&past, &id, facts.new, facts.new_accepted_as);
            }
            self.interrupted.push(open.run);
        }
    }

    /// Ends the journals of the runs that this one has taken in.
    pub fn close_interrupted(&self, state: &State, now: Wall) {
        for run in &self.interrupted {
            let Some(mut past) = Past::read(state, run) else { continue };
            let mut report = past.run.report();
            report.failed = Some("interrupted; a later run of the role took it in".to_owned());
            let report = report.summed();
            if let Ok(json) = serde_json::to_string(&report) {
                // It stays open where that cannot be written: a resume then finds what is dead.
                let _ = past.journal.close(now, &json, report.exit_code);
            }
        }
    }

    /// Takes the facts of one run; its secrets only where this run will use them.
    pub fn adopt(&mut self, past: &Past, with_secrets: bool) {
        self.adopt_facts(&past.header.run, past.run.facts(), with_secrets);
    }

    fn adopt_facts(&mut self, run: &str, facts: BTreeMap<String, Earlier>, with_secrets: bool) {
        for (id, mut facts) in facts {
            for side in [&mut facts.old, &mut facts.new].into_iter().flatten() {
                self.rename(side, run, with_secrets);
            }
            self.facts.entry(id).or_insert(facts);
        }
    }

    fn rename(&mut self, side: &mut KnownSide, run: &str, with_secrets: bool) {
        let before = std::mem::take(&mut side.secrets);
        for before in before.into_iter().filter(|_| with_secrets) {
            let now = SecretId(SecretId::ADOPTED + self.adopted.len() as u64);
            self.adopted.push(Adopted { run: run.to_owned(), before, now });
            side.secrets.push(now);
        }
    }
}

/// Credentials by the run that has them.
fn by_run(all: Vec<(String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut by_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (run, id) in all {
        by_run.entry(run).or_default().push(id);
    }
    by_run
}

fn issued(run: &Run) -> Vec<(String, String)> {
    let plan = run.plan();
    let facts = run.facts();
    let handle = |id: &String| facts.get(id)?.new.as_ref()?.handle.clone();
    plan.credentials
        .iter()
        .filter_map(|planned| {
            Some((plan.kind(planned.kind)?.provider.clone(), handle(&planned.id)?))
        })
        .collect()
}
