//! Secret stores: where secrets live and new ones go.
//!
//! [`Stores`] knows one [`SecretStore`] per scheme. What lives in files (`file:`, `dotenv:`,
//! `json:`, `line:`) is one store, so that one file has one writer whatever the scheme.
//!
//! A [`Why`] of a store carries a closed word of its own next to the reason: `relative-path`,
//! `not-regular`, `too-large`, `no-such-key`, `permission-denied` and the like. Never a path,
//! never a value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::engine::call::{Fault, PlaceState, Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

mod atomic;
mod content;
mod dotenv;
mod env;
mod file;
mod json;
mod line;
mod part;
mod path;

pub use file::FileStore;
pub use line::Shapes;

/// One change: the place, what it may hold now, and what it shall hold.
pub struct Edit {
    /// The place.
    pub to: SecretRef,
    /// What it is known to hold; empty for nothing; none where nobody looked. A place that holds
    /// neither this nor the new one is left alone. An empty or absent place is always written.
    pub old: Option<Secret>,
    /// What it holds afterwards.
    pub new: Secret,
}

impl Edit {
    /// A second copy, made on purpose.
    pub fn duplicate(&self) -> Self {
        Self {
            to: self.to.clone(),
            old: self.old.as_ref().map(Secret::duplicate),
            new: self.new.duplicate(),
        }
    }

    /// The edit that takes this one back; none where nobody knows what was there.
    fn back(&self) -> Option<Self> {
        let old = self.old.as_ref().filter(|old| !old.is_empty())?;
        Some(Self {
            to: self.to.clone(),
            old: Some(self.new.duplicate()),
            new: old.duplicate(),
        })
    }
}

/// A place that secrets are kept in, by scheme.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Reason::Unreadable`]; [`Reason::Empty`] if there is nothing in it.
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why>;

    /// Whether [`SecretStore::write`] would take these edits now. Changes nothing.
    ///
    /// # Errors
    /// What `write` would say.
    async fn check(&self, edits: &[Edit]) -> Result<(), Why>;

    /// Writes all values of one place (one file, one entry) in one edit, atomically, all else kept
    /// byte for byte; reads them back and compares. All edits name the same place.
    ///
    /// # Errors
    /// [`Reason::PlaceChanged`] and nothing is written; [`Reason::Unwritable`].
    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why>;

    /// Whether the store itself handles the part behind `::`, within its one edit. Where it does
    /// not, it never sees one: the registry reads the whole, changes the part and writes the whole.
    fn edits_parts(&self) -> bool {
        false
    }
}
