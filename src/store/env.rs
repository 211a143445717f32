//! `env:NAME`: this process's environment; read only.

use std::os::unix::ffi::OsStringExt as _;

use async_trait::async_trait;

use super::{Edit, SecretStore, because};
use crate::engine::call::{PlaceState, Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// Reads the environment. No process can change the environment of another, so it writes nothing.
pub(super) struct EnvStore;

#[async_trait]
impl SecretStore for EnvStore {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        // `var_os` panics on such names on some systems.
        if from.path.is_empty() || from.path.contains(['=', '\0']) {
            return Err(because(Reason::Unreadable, "bad-reference"));
        }
        std::env::var_os(&from.path)
            .map(|value| Secret::new(value.into_vec()))
            .ok_or_else(|| because(Reason::Empty, "not-set"))
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Err(Reason::ReadOnly.into())
    }

    async fn write(&self, _edits: Vec<Edit>) -> Result<PlaceState, Why> {
        Err(Reason::ReadOnly.into())
    }
}
