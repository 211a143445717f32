//! Sessions that were handed to us, until each is ended: in memory alone. A call that is dropped
//! half-way forgets none of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cookie::print;
use crate::secret::Secret;

/// Sessions that are remembered for one cookie: a site that hands out more than these has a new id
/// for every look, and each is as good as the last.
const HANDED_MAX: usize = 16;

/// By cookie: the sessions that were handed to us for it.
#[derive(Default)]
pub(super) struct Handed(Mutex<BTreeMap<[u8; 32], Entry>>);

#[derive(Default)]
struct Entry {
    sessions: Vec<Secret>,
    revoked: bool,
}

impl Handed {
    /// What was handed to us for one cookie.
    pub(super) fn to(&self, shown: &Secret) -> Given<'_> {
        Given { all: self, shown: print(shown) }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions that were handed to us for one cookie.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    all: &'a Handed,
    shown: [u8; 32],
}

impl Given<'_> {
    /// Those that nobody has ended yet.
    pub(super) fn living(&self) -> Vec<Secret> {
        let entries = self.all.entries();
        let sessions = entries.get(&self.shown).map(|entry| &entry.sessions[..]);
        sessions.unwrap_or_default().iter().map(Secret::duplicate).collect()
    }

    /// Remembers what an answer handed us.
    pub(super) fn add(&self, handed: &[Secret]) {
        if handed.is_empty() {
            return;
        }
        let mut entries = self.all.entries();
        let ours = &mut entries.entry(self.shown).or_default().sessions;
        for session in handed {
            if ours.len() < HANDED_MAX && !ours.iter().any(|known| known.same(session)) {
                ours.push(session.duplicate());
            }
        }
    }

    /// Forgets one that is over.
    pub(super) fn strike(&self, session: &Secret) {
        if let Some(entry) = self.all.entries().get_mut(&self.shown) {
            entry.sessions.retain(|known| !known.same(session));
        }
    }

    /// The revocation of the cookie was accepted: no later one ends what is handed to us from now
    /// on.
    pub(super) fn revoked(&self) {
        self.all.entries().entry(self.shown).or_default().revoked = true;
    }

    /// Whether there is something that no revocation will end.
    pub(super) fn left_over(&self) -> bool {
        let entries = self.all.entries();
        entries.get(&self.shown).is_some_and(|entry| entry.revoked && !entry.sessions.is_empty())
    }
}
