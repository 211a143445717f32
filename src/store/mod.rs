//! Secret stores: where secrets live and new ones go.

use async_trait::async_trait;

use crate::engine::call::{PlaceState, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// One change: the place, and the bytes it shall hold.
pub struct Edit {
    /// The place.
    pub to: SecretRef,
    /// What it holds afterwards.
    pub new: Secret,
}

/// A place that secrets are kept in, by scheme.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Reads one value.
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why>;

    /// Writes all values of one file in one edit, atomically, all else kept byte for byte; reads
    /// them back and compares.
    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why>;
}
