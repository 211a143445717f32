//! Secret parts, sealed: one age blob for each call that brought some.
//!
//! Inside is JSON: the run and the id it was sealed for (a blob that was moved does not open as
//! another one), public parts as they are, secret parts in base64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::record::JournalError;
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
    seal: &Seal,
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
    Ok(seal.seal(&Secret::new(std::mem::take(&mut *plain)))?)
}

/// Opens what was sealed under this name.
pub(super) fn open(
    seal: &Seal,
    run: &str,
    id: SecretId,
    sealed: &[u8],
) -> Result<Parts, JournalError> {
    let changed = || JournalError::Sealed { run: run.to_owned(), id: id.0 };
    let plain = seal.open(sealed).map_err(|_| changed())?;
    let reading: Reading<'_> = serde_json::from_slice(plain.expose()).map_err(|_| changed())?;
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
