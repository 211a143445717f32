//! What earlier runs know of the roles of this one.

use std::collections::BTreeMap;

use super::prepare::Context;
use super::session::Intent;
use crate::drive;
use crate::engine::call::SecretId;
use crate::engine::plan::{Earlier, KnownSide, Plan};
use crate::engine::report::Mode;
use crate::engine::run::Run;
use crate::inventory::Summary;
use crate::journal::{Adopted, Header, Journal, State};

/// Facts of earlier runs, and the secrets they held.
#[derive(Default)]
pub(crate) struct History {
    /// By credential id, secrets named as this run will know them.
    pub(crate) facts: BTreeMap<String, Earlier>,
    /// Those secrets.
    pub(crate) adopted: Vec<Adopted>,
    /// Roles that are marked contained in the state directory.
    pub(crate) contained: Vec<String>,
    /// Handles that earlier runs issued, by provider.
    pub(crate) issued: BTreeMap<String, Vec<String>>,
    /// What the inventory listed at the last run.
    pub(crate) summary: Option<Summary>,
}

/// A run read back from its journal.
pub(crate) struct Past {
    pub(crate) journal: Journal,
    pub(crate) header: Header,
    pub(crate) run: Run,
}

impl Past {
    /// Reads a run and replays it; none where its journal cannot be used by this release.
    pub(crate) fn read(state: &State, run: &str) -> Option<Self> {
        let (journal, header, events) = Journal::open(state, run).ok()?;
        let plan: Plan = serde_json::from_value(header.plan.clone()).ok()?;
        let mut run = Run::new(plan);
        drive::replay(&mut run, events).ok()?;
        Some(Self { journal, header, run })
    }
}

impl History {
    /// What is known of the intent's roles. What cannot be read is not known.
    pub(crate) fn of(state: &State, intent: &Intent) -> Self {
        let mut history = Self::default();
        let modes: &[&str] = match intent.mode {
            Mode::Restore => &["contain", "revoke-only", "restore"],
            _ => &[],
        };
        for role in &intent.roles {
            if state.contained(role).ok().flatten().is_some() {
                history.contained.push(role.clone());
            }
            let Ok(Some(last)) = state.latest(role, modes) else { continue };
            let Some(past) = Past::read(state, &last.run) else { continue };
            let context: Context =
                serde_json::from_value(past.header.details.clone()).unwrap_or_default();
            history.summary.get_or_insert(context.summary);
            for (provider, handle) in issued(&past.run) {
                history.issued.entry(provider).or_default().push(handle);
            }
            history.adopt(&past, intent.mode == Mode::Restore);
        }
        history
    }

    /// Takes the facts of one run; its secrets only where this run will use them.
    pub(crate) fn adopt(&mut self, past: &Past, with_secrets: bool) {
        for (id, mut facts) in past.run.facts() {
            for side in [&mut facts.old, &mut facts.new].into_iter().flatten() {
                self.rename(side, past, with_secrets);
            }
            self.facts.entry(id).or_insert(facts);
        }
    }

    fn rename(&mut self, side: &mut KnownSide, past: &Past, with_secrets: bool) {
        let before = std::mem::take(&mut side.secrets);
        for before in before.into_iter().filter(|_| with_secrets) {
            let now = SecretId(SecretId::ADOPTED + self.adopted.len() as u64);
            self.adopted.push(Adopted { run: past.header.run.clone(), before, now });
            side.secrets.push(now);
        }
    }
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
