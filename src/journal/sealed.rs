//! Secret parts, sealed: one blob for each call that brought some.
//!
//! Inside is JSON: the run and the id it was sealed for (a blob that was moved does not open as
//! another one), public parts as they are, secret parts in base64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Adopted;
use super::data_key::{Blob, DataKey, KeyId};
use super::record::JournalError;
use super::state::State;
use crate::engine::call::SecretId;
use crate::seal::Seal;
use crate::secret::{Parts, Secret};

#[derive(Serialize)]
struct Writing<'a> {
    run: &'a str,
    id: SecretId,
    public: &'a BTreeMap<String, Value>,
    secret: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct Reading<'a> {
    #[serde(borrow)]
    run: Cow<'a, str>,
    id: SecretId,
    public: BTreeMap<String, Value>,
    // Borrowed: base64 has nothing to unescape, so no copy of it is made.
    #[serde(borrow)]
    secret: BTreeMap<String, &'a str>,
}

/// Seals the parts under their name.
pub(super) fn seal(
    key: &DataKey,
    run: &str,
    id: SecretId,
    parts: &Parts,
) -> Result<Vec<u8>, JournalError> {
    let encoded: Vec<(&str, Zeroizing<String>)> = parts
        .secret
        .iter()
        .map(|(name, bytes)| (name.as_str(), Zeroizing::new(STANDARD.encode(bytes.expose()))))
        .collect();
    let writing = Writing {
        run,
        id,
        public: &parts.public,
        secret: encoded.iter().map(|(name, text)| (*name, text.as_str())).collect(),
    };
    // Counted first: a buffer that grows leaves copies behind.
    let mut count = Count(0);
    serde_json::to_writer(&mut count, &writing)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(count.0));
    serde_json::to_writer(&mut *plain, &writing)?;
    Ok(key.seal(run, id, &plain)?)
}

/// Opens what is sealed in one run.
pub(super) struct Opener<'a> {
    connection: &'a Connection,
    seal: &'a Seal,
    run: &'a str,
    /// Those that were needed so far.
    keys: BTreeMap<KeyId, DataKey>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(connection: &'a Connection, seal: &'a Seal, run: &'a str) -> Self {
        Self { connection, seal, run, keys: BTreeMap::new() }
    }

    /// What is sealed under this name; none where it is sealed no longer.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub(super) fn held(&mut self, id: SecretId) -> Result<Option<Parts>, JournalError> {
        let mut select =
            self.connection.prepare_cached("SELECT sealed FROM seal WHERE run = ?1 AND id = ?2")?;
        let row = select.query_row(params![self.run, id.0.cast_signed()], |row| row.get(0));
        let row: Option<Vec<u8>> = row.optional()?;
        row.map(|blob| self.open(id, &blob)).transpose()
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// [`JournalError::Sealed`], and what the disk brings.
    pub(super) fn open(&mut self, id: SecretId, sealed: &[u8]) -> Result<Parts, JournalError> {
        let run = self.run;
        let changed = || JournalError::Sealed { run: run.to_owned(), id: id.0 };
        let plain = match Blob::of(sealed) {
            Some(blob) => {
                let key = self.key(blob.key)?.ok_or_else(changed)?;
                key.unseal(run, id, &blob)
            }
            None => self.seal.open(sealed).map(|plain| Zeroizing::new(plain.expose().to_vec())),
        };
        let plain = plain.map_err(|_| changed())?;
        let reading: Reading<'_> = serde_json::from_slice(&plain).map_err(|_| changed())?;
        if reading.run != run || reading.id != id {
            return Err(changed());
        }
        let mut secret = BTreeMap::new();
        for (name, text) in reading.secret {
            let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
            let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| changed())?;
            bytes.truncate(length);
            secret.insert(name, Secret::new(bytes.to_vec()));
        }
        Ok(Parts { public: reading.public, secret })
    }

    /// A key of this run; none where it is not there, or does not open.
    fn key(&mut self, id: KeyId) -> Result<Option<&DataKey>, JournalError> {
        if !self.keys.contains_key(&id) {
            let mut select = self
                .connection
                .prepare_cached("SELECT sealed FROM data_key WHERE run = ?1 AND id = ?2")?;
            let row = select.query_row(params![self.run, id], |row| row.get(0)).optional()?;
            let key = row.and_then(|sealed| DataKey::open(self.seal, id, sealed).ok());
            self.keys.extend(key.map(|key| (id, key)));
        }
        Ok(self.keys.get(&id))
    }
}

/// Each of these, with what its run holds under its name: the keys of a run are opened once.
pub(super) fn lent<'a>(
    state: &State,
    adopted: &'a [Adopted],
) -> Vec<(&'a Adopted, Result<Option<Parts>, JournalError>)> {
    let connection = state.database.lock();
    let mut openers: BTreeMap<&str, Opener<'_>> = BTreeMap::new();
    let held = adopted.iter().map(|one| {
        let opener = openers.entry(&one.run);
        let opener = opener.or_insert_with(|| Opener::new(&connection, state.seal(), &one.run));
        (one, opener.held(one.before))
    });
    held.collect()
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let secret = [("secret".to_owned(), Secret::from("s3cret".to_owned()))];
        Parts { public: BTreeMap::new(), secret: secret.into() }
    }

    #[test]
    fn what_age_sealed_by_itself_still_opens() {
        let state = State::in_memory().unwrap();
        let json = br#"{"run":"r1","id":4,"public":{},"secret":{"secret":"czNjcmV0"}}"#;
        let sealed = state.seal().seal(&Secret::new(json.to_vec())).unwrap();
        let connection = state.database.lock();
        let open =
            |run, id| Opener::new(&connection, state.seal(), run).open(SecretId(id), &sealed);
        assert!(open("r1", 4).unwrap().secret["secret"].same(&parts().secret["secret"]));
        for (run, id) in [("r1", 5), ("r2", 4)] {
            assert!(matches!(open(run, id), Err(JournalError::Sealed { .. })));
        }
    }

    #[test]
    fn two_seals_of_the_same_bytes_share_none() {
        let state = State::in_memory().unwrap();
        let key = DataKey::make(state.seal()).unwrap();
        let [one, other] = [(); 2].map(|()| seal(&key, "r1", SecretId(4), &parts()).unwrap());
        let blobs = [&one, &other].map(|sealed| Blob::of(sealed).unwrap());
        let open = |run, id, blob| key.unseal(run, SecretId(id), blob).is_ok();
        for blob in &blobs {
            assert!(open("r1", 4, blob));
            assert!(!open("r1", 5, blob) && !open("r2", 4, blob));
        }
        let same = one.iter().zip(&other).skip(17).filter(|(a, b)| a == b).count();
        assert!(same < one.len() / 8, "{same} of {}", one.len());
        assert!(Blob::of(&one[..50]).is_none(), "too short for a nonce and a tag");
    }
}
