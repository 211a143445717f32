//! What a delivery writes, and what each place may hold before.

use std::collections::BTreeMap;

use super::{LiveWorld, part};
use crate::engine::call::{Delivery, Party, Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::{Parts, Secret};
use crate::store::Edit;
use crate::vault::Vault;

impl LiveWorld {
    /// Table by table, one edit per part. A part that the new one does not have keeps its place as
    /// it is if the kind says that it may be absent.
    pub(super) async fn edits(
        &self,
        delivery: &Delivery,
        vault: &Vault,
    ) -> Result<Vec<Vec<Edit>>, Why> {
        let new = vault.parts(&delivery.new)?;
        let old = delivery.old.as_ref().map(|old| vault.parts(old)).transpose()?;
        let provider = self.provider(&delivery.new.provider)?;
        let kind = provider.capability().kinds.get(&delivery.new.kind);
        let mut sets = Vec::with_capacity(delivery.places.len());
        for set in &delivery.places {
            let burned = self.burned(delivery, set, &new).await;
            let edit = |(name, to): (&String, &SecretRef)| {
                let optional =
                    kind.and_then(|kind| kind.parts.get(name)).is_some_and(|part| part.optional);
                let Some(value) = part(&new, name) else {
                    return if optional { None } else { Some(Err(Reason::MissingValue.into())) };
                };
                let written = delivery.written.contains(&to.to_string());
                // Neither an old one nor the new one is somebody else's.
                let known = burned.as_ref().map(|it| it.as_ref().unwrap_or(&new));
                let expected = old.as_ref().or(written.then_some(&new)).or(known);
                let old = expected.map(|it| part(it, name).unwrap_or(Secret::new(Vec::new())));
                Some(Ok(Edit { to: to.clone(), old, new: value }))
            };
            sets.push(set.iter().filter_map(edit).collect::<Result<_, Why>>()?);
        }
        Ok(sets)
    }

    /// What a place holds, if that is the old one, of which the fingerprint alone is known; none
    /// where nothing is known of it, or where the place has too little of it to tell.
    async fn burned(
        &self,
        delivery: &Delivery,
        set: &BTreeMap<String, SecretRef>,
        new: &Parts,
    ) -> Option<Option<Parts>> {
        let print = delivery.old_fingerprint.as_ref()?;
        let tells = new.secret.keys().all(|name| set.contains_key(name));
        let Party { provider, kind, .. } = &delivery.new;
        let read = if tells { self.read(provider, kind, set, false).await } else { return None };
        let held = read.ok().and_then(|made| made.brought);
        Some(held.filter(|parts| self.holding(parts).fingerprint == *print))
    }
}
