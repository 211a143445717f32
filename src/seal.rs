//! Sealing: age encryption to this installation's key and the configured recipients.

use std::io::{Read, Write};
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use age::x25519;

use crate::secret::{FingerprintKey, Secret};

/// Seals to every recipient; opens with this installation's key.
pub struct Seal {
    identity: x25519::Identity,
    recipients: Vec<x25519::Recipient>,
}

/// What one installation seals and names secrets with, and where it keeps what is sealed.
pub struct Keys {
    pub(crate) seal: Arc<Seal>,
    pub(crate) fingerprints: FingerprintKey,
    /// The folder of the sealed archives; none where nothing is kept.
    pub(crate) evidence: Option<PathBuf>,
}

/// Sealing or opening failed; nothing of the content is told.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The installation key is not an age key.
    #[error("the installation key is not an age identity")]
    BadKey,
    /// A recipient of the configuration is not one.
    #[error("recipient {0} is not an age recipient")]
    BadRecipient(String),
    /// The key does not open it, or it was changed.
    #[error("the seal does not open with this installation's key")]
    Closed,
    /// The sealed stream could not be written.
    #[error("the sealed stream cannot be written")]
    Write(#[source] std::io::Error),
}

impl Seal {
    /// Makes a new installation key: the text to be kept, 0600.
    pub fn make_key() -> Secret {
        let text = x25519::Identity::generate().to_string();
        Secret::new(text.expose_secret().as_bytes().to_vec())
    }

    /// Takes the installation key, and the configured recipients (`age1...`).
    ///
    /// # Errors
    /// [`SealError::BadKey`], [`SealError::BadRecipient`].
    pub fn new(key: &Secret, recipients: &[String]) -> Result<Self, SealError> {
        let text = std::str::from_utf8(key.expose()).map_err(|_| SealError::BadKey)?;
        let identity: x25519::Identity = text.trim().parse().map_err(|_| SealError::BadKey)?;
        let mut all = vec![identity.to_public()];
        for text in recipients {
            all.push(text.parse().map_err(|_| SealError::BadRecipient(text.clone()))?);
        }
        Ok(Self { identity, recipients: all })
    }

    /// How many keys open what is sealed.
    pub fn recipients(&self) -> usize {
        self.recipients.len()
    }

    /// Wraps a writer; whoever uses it calls `finish` on what comes back.
    ///
    /// # Errors
    /// [`SealError::Write`].
    pub fn wrap<W: Write>(&self, out: W) -> Result<age::stream::StreamWriter<W>, SealError> {
        let recipients = self.recipients.iter().map(|one| one as &dyn age::Recipient);
        age::Encryptor::with_recipients(recipients)
            .map_err(|_| SealError::BadKey)?
            .wrap_output(out)
            .map_err(SealError::Write)
    }

    /// Seals bytes.
    ///
    /// # Errors
    /// [`SealError::Write`].
    pub fn seal(&self, plain: &Secret) -> Result<Vec<u8>, SealError> {
        let mut writer = self.wrap(Vec::new())?;
        writer.write_all(plain.expose()).map_err(SealError::Write)?;
        writer.finish().map_err(SealError::Write)
    }

    /// Opens bytes.
    ///
    /// # Errors
    /// [`SealError::Closed`].
    pub fn open(&self, sealed: &[u8]) -> Result<Secret, SealError> {
        let decryptor = age::Decryptor::new(sealed).map_err(|_| SealError::Closed)?;
        let mut reader = decryptor
            .decrypt(iter::once(&self.identity as &dyn age::Identity))
            .map_err(|_| SealError::Closed)?;
        // The plain text is shorter than the sealed one, so this never grows: a buffer that grows
        // or shrinks leaves its old self behind, unzeroed. Hence the exact copy, too.
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|_| SealError::Closed)?;
        Ok(Secret::new(plain.to_vec()))
    }
}
