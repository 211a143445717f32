//! Data keys: every handle on a journal seals under a key of its own, and age seals that key to
//! all recipients, once. An exchange of keys for each secret would be a fifth of the work of a
//! large run.
//!
//! XChaCha20-Poly1305; the nonces are random, and 192 bits do not meet again by chance. What is
//! authenticated beside the bytes is the run and the id: a blob that was moved does not open.

use std::io;

use chacha20poly1305::{AeadInPlace as _, Key, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use rand::RngCore as _;
use rusqlite::{Transaction, params};
use zeroize::Zeroizing;

use crate::engine::call::SecretId;
use crate::seal::{Seal, SealError};
use crate::secret::Secret;

/// The first byte of a blob. Those of age, one for each secret as they were sealed before there
/// were data keys, begin with a letter.
const FORM: u8 = 1;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Names a data key within its run. Random: whoever opens a run again makes a key of its own.
pub(super) type KeyId = [u8; 16];

/// Deletes the keys of a run that no seal of it was made under: the id follows a blob's first byte.
pub(super) const UNUSED_KEYS: &str = "
DELETE FROM data_key WHERE run = ?1 AND NOT EXISTS (
    SELECT 1 FROM seal WHERE seal.run = data_key.run AND substr(seal.sealed, 2, 16) = data_key.id
)";

/// A key that seals what one handle brings.
pub(super) struct DataKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
    /// Itself, sealed by age to every recipient.
    sealed: Vec<u8>,
}

/// A blob, taken apart.
pub(super) struct Blob<'a> {
    /// The key it was sealed under.
    pub(super) key: KeyId,
    nonce: &'a [u8; NONCE_BYTES],
    bytes: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Blob<'a> {
    /// None if it was not sealed under a data key.
    pub(super) fn of(sealed: &'a [u8]) -> Option<Self> {
        let (&FORM, rest) = sealed.split_first()? else { return None };
        let (key, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (bytes, tag) = rest.split_last_chunk()?;
        Some(Self { key: *key, nonce, bytes, tag })
    }
}

impl DataKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`SealError::Write`].
    pub(super) fn make(seal: &Seal) -> Result<Self, SealError> {
        let mut random = rand::rng();
        let mut id = KeyId::default();
        random.fill_bytes(&mut id);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random.fill_bytes(&mut *key);
        let sealed = seal.seal(&Secret::new(key.to_vec()))?;
        Ok(Self { id, cipher: XChaCha20Poly1305::new(Key::from_slice(&*key)), sealed })
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`SealError::Closed`].
    pub(super) fn open(seal: &Seal, id: KeyId, sealed: Vec<u8>) -> Result<Self, SealError> {
        let key = seal.open(&sealed)?;
        let cipher =
            XChaCha20Poly1305::new_from_slice(key.expose()).map_err(|_| SealError::Closed)?;
        Ok(Self { id, cipher, sealed })
    }

    /// Seals bytes under their name: form, key, nonce, bytes, tag.
    ///
    /// # Errors
    /// [`SealError::Write`]: a quarter of a terabyte is too long.
    pub(super) fn seal(&self, run: &str, id: SecretId, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = XNonce::default();
        rand::rng().fill_bytes(&mut nonce);
        let length = 1 + self.id.len() + NONCE_BYTES + plain.len() + TAG_BYTES;
        let mut sealed = Zeroizing::new(Vec::with_capacity(length));
        sealed.push(FORM);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        let begin = sealed.len();
        sealed.extend_from_slice(plain);
        let bytes = sealed.get_mut(begin..).unwrap_or_default();
        let tag = self.cipher.encrypt_in_place_detached(&nonce, &name(run, id), bytes);
        let tag = tag.map_err(|_| SealError::Write(io::ErrorKind::FileTooLarge.into()))?;
        sealed.extend_from_slice(&tag);
        Ok(std::mem::take(&mut *sealed))
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// [`SealError::Closed`].
    pub(super) fn unseal(
        &self,
        run: &str,
        id: SecretId,
        blob: &Blob<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut plain = Zeroizing::new(blob.bytes.to_vec());
        let (nonce, tag) = (XNonce::from_slice(blob.nonce), Tag::from_slice(blob.tag));
        self.cipher
            .decrypt_in_place_detached(nonce, &name(run, id), &mut plain, tag)
            .map_err(|_| SealError::Closed)?;
        Ok(plain)
    }
}

/// Keeps a key, where it is not kept yet.
pub(super) fn insert_key(
    transaction: &Transaction<'_>,
    run: &str,
    key: &DataKey,
) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO data_key (run, id, sealed) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![run, key.id, key.sealed])?;
    Ok(())
}

/// The id has a fixed length, so no run's name can be taken for another's with an id.
fn name(run: &str, id: SecretId) -> Vec<u8> {
    [&id.0.to_be_bytes(), run.as_bytes()].concat()
}
