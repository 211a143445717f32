//! The secret bytes a run holds, by the call that brought them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::call::{Party, Reason, SecretId, Why};
use crate::secret::{Parts, Secret};

/// The bytes of one run. No `Debug`; everything is zeroed when it is dropped.
#[derive(Default)]
pub struct Vault {
    held: Mutex<BTreeMap<SecretId, Parts>>,
}

impl Vault {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps what a call brought. What stood under that name is zeroed.
    pub fn insert(&self, id: SecretId, parts: Parts) {
        self.held().insert(id, parts);
    }

    /// Zeroes what a call brought: its verdict needs it no longer.
    pub fn forget(&self, id: SecretId) {
        self.held().remove(&id);
    }

    /// Whether these bytes are held: as a part of a credential of the run, old or new.
    pub(crate) fn holds(&self, secret: &Secret) -> bool {
        self.held().values().flat_map(|parts| parts.secret.values()).any(|it| it.same(secret))
    }

    /// The parts of one credential: what its calls brought, oldest first and later ones winning
    /// part by part, then the public parts that the engine knows.
    ///
    /// # Errors
    /// [`Reason::MissingValue`] if the bytes of one of the calls are not held.
    pub fn parts(&self, party: &Party) -> Result<Parts, Why> {
        let held = self.held();
        let mut all = Parts::default();
        for id in &party.secrets {
            all.absorb(held.get(id).ok_or(Reason::MissingValue)?.duplicate());
        }
        all.public.extend(party.public.clone());
        Ok(all)
    }

    /// A panic elsewhere leaves the map whole: no entry is ever half written.
    fn held(&self) -> MutexGuard<'_, BTreeMap<SecretId, Parts>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    fn parts(public: &[(&str, &str)], secret: &[(&str, &str)]) -> Parts {
        Parts {
            public: public.iter().map(|(k, v)| ((*k).into(), json!(v))).collect(),
            secret: secret
                .iter()
                .map(|(k, v)| ((*k).into(), Secret::from((*v).to_owned())))
                .collect(),
        }
    }

    fn party(secrets: &[u64]) -> Party {
        Party {
            provider: "acme".into(),
            kind: "api-key".into(),
            vars: BTreeMap::new(),
            public: [("handle".to_owned(), json!("from-engine"))].into(),
            secrets: secrets.iter().map(|id| SecretId(*id)).collect(),
            made_up: false,
        }
    }

    #[test]
    fn later_calls_win_part_by_part_and_the_engine_wins_over_both() {
        let vault = Vault::new();
        vault.insert(SecretId(1), parts(&[("handle", "a"), ("sid", "s")], &[("secret", "one")]));
        vault.insert(SecretId(2), parts(&[], &[("secret", "two"), ("access", "three")]));
        let all = vault.parts(&party(&[1, 2])).unwrap();
        assert_eq!(all.secret["secret"].expose(), b"two");
        assert_eq!(all.secret["access"].expose(), b"three");
        assert_eq!(all.public["sid"], json!("s"));
        assert_eq!(all.public["handle"], json!("from-engine"));
        let backwards = vault.parts(&party(&[2, 1])).unwrap();
        assert_eq!(backwards.secret["secret"].expose(), b"one");
    }

    #[test]
    fn bytes_that_are_not_held_are_said_to_be_missing() {
        let vault = Vault::new();
        vault.insert(SecretId(1), parts(&[], &[("secret", "one")]));
        vault.forget(SecretId(1));
        let why = vault.parts(&party(&[1])).err().unwrap();
        assert_eq!(why, Why::from(Reason::MissingValue));
        assert!(vault.parts(&party(&[])).is_ok());
    }
}
