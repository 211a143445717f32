//! What the roles of a run hold.

use std::collections::{BTreeMap, BTreeSet};

use super::super::plan::LeftOut;
use super::super::report::Mode;
use super::Planner;
use super::phases::phases;
use crate::inventory::{Credential, Role};

/// One credential to be planned: its id, the role that owns it, its entry.
pub(super) struct Entry<'a> {
    pub(super) id: String,
    pub(super) owner: &'a Role,
    pub(super) credential: &'a Credential,
}

/// Line and message of what is wrong with an entry.
type Wrong<'a> = (usize, &'a str);

impl<'a> Planner<'a> {
    /// Every credential that the roles hold, their own and those they use, each once.
    pub(super) fn entries(&self) -> (Vec<Entry<'a>>, Vec<LeftOut>) {
        let broken = self.broken();
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        let mut left_out = Vec::new();
        for role in &self.roles {
            let own = role.credentials.iter().map(|credential| (*role, credential));
            let used = role.uses.iter().filter_map(|id| self.by_id.get(id.as_str()).copied());
            for (owner, credential) in own.chain(used) {
                let id = format!("{}/{}", owner.name, credential.name);
                if !self.selected(credential) || !seen.insert(id.clone()) {
                    continue;
                }
                // What is wrong with it was told; what can still be ended is ended.
                if !credential.unusable && self.capability(credential).is_some() {
                    entries.push(Entry { id, owner, credential });
                    continue;
                }
                let wrong = broken
                    .get(owner.name.as_str())
                    .and_then(|role| role.get(credential.name.as_str()));
                let (line, message) =
                    wrong.map_or((credential.line, "its provider or kind is not known"), |w| *w);
                left_out.push(LeftOut {
                    id,
                    provider: credential.provider.clone(),
                    line,
                    message: message.to_owned(),
                    ..LeftOut::default()
                });
            }
            let unread = broken.get(role.name.as_str());
            for (name, (line, message)) in unread.into_iter().flatten() {
                let id = format!("{}/{name}", role.name);
                if self.options.only.is_empty() && seen.insert(id.clone()) {
                    let (line, message) = (*line, (*message).to_owned());
                    left_out.push(LeftOut { id, line, message, ..LeftOut::default() });
                }
            }
        }
        if self.mode == Mode::Restore {
            entries.retain(|entry| self.is_to_restore(entry));
        }
        (entries, left_out)
    }

    fn is_to_restore(&self, entry: &Entry<'_>) -> bool {
        let earlier = self.options.earlier.get(&entry.id);
        let can = self.capability(entry.credential).map(|(_, can)| can);
        can.is_some_and(|can| !phases(self.mode, can, earlier).is_empty())
    }

    /// The first thing that is wrong with each entry, by role and name.
    fn broken(&self) -> BTreeMap<&'a str, BTreeMap<&'a str, Wrong<'a>>> {
        let mut broken: BTreeMap<&str, BTreeMap<&str, Wrong<'_>>> = BTreeMap::new();
        for problem in &self.inventory.problems {
            if let (Some(role), Some(credential)) = (&problem.role, &problem.credential) {
                let of_role = broken.entry(role).or_default();
                of_role.entry(credential).or_insert((problem.line, &problem.message));
            }
        }
        broken
    }

    fn selected(&self, credential: &Credential) -> bool {
        let only = &self.options.only;
        only.is_empty()
            || only.iter().any(|only| match only.split_once('/') {
                None => credential.provider == *only,
                Some((provider, name)) => {
                    credential.provider == provider && credential.name == name
                }
            })
    }
}
