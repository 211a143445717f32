//! Secrets that were written into an inventory by mistake: burned, and revoked like any other.

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Edit, SecretStore};
use crate::engine::call::{PlaceState, Reason, Why};
use crate::inventory::{self, SecretRef};
use crate::secret::Secret;

/// The text of one inventory, as the store of what stands in it.
pub struct InventoryStore {
    text: Zeroizing<String>,
}

impl InventoryStore {
    /// Takes the text that was parsed.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self { text }
    }
}

#[async_trait]
impl SecretStore for InventoryStore {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        let value = inventory::literal(&self.text, from).ok_or(Reason::Unreadable)?;
        Ok(Secret::new(value.as_bytes().to_vec()))
    }

    /// No secret is ever put into an inventory.
    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Err(Reason::Unwritable.into())
    }

    async fn write(&self, _edits: Vec<Edit>) -> Result<PlaceState, Why> {
        Err(Reason::Unwritable.into())
    }
}
