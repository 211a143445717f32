//! `stdin:N`: secrets that a person handed to this process, by the line they stood on. They are
//! read from here into a run's journal and sealed there; nowhere else are they kept.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Edit, SecretStore, because};
use crate::engine::call::{PlaceState, Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// Secrets of this process alone, by name.
#[derive(Default)]
pub(crate) struct GivenStore(BTreeMap<String, Secret>);

impl GivenStore {
    /// The scheme of their places. No inventory can name it.
    pub(crate) const SCHEME: &'static str = "stdin";

    /// Keeps a secret, and says where.
    pub(crate) fn keep(&mut self, name: &str, value: Secret) -> SecretRef {
        self.0.insert(name.to_owned(), value);
        let (scheme, path) = (Self::SCHEME.to_owned(), name.to_owned());
        SecretRef { scheme, path, fragment: None, part: None }
    }
}

#[async_trait]
impl SecretStore for GivenStore {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        let value = self.0.get(&from.path).map(Secret::duplicate);
        value.ok_or_else(|| because(Reason::Empty, "not-given"))
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Err(Reason::ReadOnly.into())
    }

    async fn write(&self, _edits: Vec<Edit>) -> Result<PlaceState, Why> {
        Err(Reason::ReadOnly.into())
    }
}
