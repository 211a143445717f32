//! Sealing: age encryption to this installation's key and the configured recipients.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use age::x25519;

use crate::secret::{FingerprintKey, Secret};

mod identity;
mod recipient;

pub(crate) use identity::Identities;
pub use recipient::BadRecipient;
pub(crate) use recipient::Recipient;

/// Seals to every recipient; opens with this installation's key, and with those of people that
/// it was given for one command.
pub struct Seal {
    /// This installation's own comes first.
    identities: Vec<identity::Identity>,
    /// This installation's own comes first.
    recipients: Vec<Recipient>,
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
    /// A recipient of the configuration is not one: its number, from one.
    #[error("recipient {0} is {1}")]
    BadRecipient(usize, BadRecipient),
    /// No key at hand opens it, or it was changed.
    #[error("the seal does not open with any key at hand")]
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

    /// Takes the installation key, and the configured recipients: `age1...`, `ssh-ed25519 ...`,
    /// `ssh-rsa ...`.
    ///
    /// # Errors
    /// [`SealError::BadKey`], [`SealError::BadRecipient`].
    pub fn new(key: &Secret, recipients: &[String]) -> Result<Self, SealError> {
        let text = std::str::from_utf8(key.expose()).map_err(|_| SealError::BadKey)?;
        let identity: x25519::Identity = text.trim().parse().map_err(|_| SealError::BadKey)?;
        let mut all = vec![Recipient::from(identity.to_public())];
        for (n, text) in recipients.iter().enumerate() {
            all.push(text.parse().map_err(|why| SealError::BadRecipient(n + 1, why))?);
        }
        Ok(Self { identities: vec![Arc::new(identity)], recipients: all })
    }

    /// The same, opening also what was sealed to the public halves of these keys.
    pub(crate) fn opened_by(&self, more: &Identities) -> Self {
        let identities = self.identities.iter().chain(&more.0).cloned().collect();
        Self { identities, recipients: self.recipients.clone() }
    }

    /// The public half of the installation key.
    pub(crate) fn own(&self) -> String {
        self.recipients.first().map(Recipient::to_string).unwrap_or_default()
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
        let recipients = self.recipients.iter().map(Recipient::as_age);
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
            .decrypt(self.identities.iter().map(|one| one.as_ref() as &dyn age::Identity))
            .map_err(|_| SealError::Closed)?;
        // The plain text is shorter than the sealed one, so this never grows: a buffer that grows
        // or shrinks leaves its old self behind, unzeroed. Hence the exact copy, too.
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|_| SealError::Closed)?;
        Ok(Secret::new(plain.to_vec()))
    }
}
