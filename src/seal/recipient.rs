//! Who can open what is sealed: age and ssh public keys, in the words that people keep them in.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError as Ssh;
use age::{ssh, x25519};

/// A public key that secrets are sealed to.
#[derive(Clone)]
pub(crate) struct Recipient(Key);

#[derive(Clone)]
enum Key {
    Age(x25519::Recipient),
    Ssh(ssh::Recipient),
}

/// Why a text is no recipient. The text itself is not repeated: it may be a private key, pasted
/// by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    /// The wrong half of a key pair.
    #[error("a private key")]
    Private,
    /// An ssh key that only signs, or lives in a device.
    #[error("an ssh key of a type that nothing can be sealed to")]
    Type,
    /// NIST SP 800-131A gives up RSA below 2048 bits.
    #[error("an RSA key of less than 2048 bits")]
    Weak,
    /// What the implementation takes.
    #[error("an RSA key of more than 4096 bits")]
    Long,
    /// Anything else.
    #[error("neither an age nor an ssh public key")]
    Unknown,
}

impl BadRecipient {
    /// What to do, as an imperative.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Private => {
                "give its public half (age-keygen -y FILE, ssh-keygen -y -f FILE), and treat the \
                 private one as read"
            }
            Self::Type => "give an ssh-ed25519 or ssh-rsa key, or an age key: age-keygen makes one",
            Self::Weak | Self::Long => "make another key: ssh-keygen -t ed25519, or age-keygen",
            Self::Unknown => "give one key: age1..., ssh-ed25519 ... or ssh-rsa ...",
        }
    }
}

impl Recipient {
    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.0 {
            Key::Age(key) => key,
            Key::Ssh(key) => key,
        }
    }
}

impl FromStr for Recipient {
    type Err = BadRecipient;

    fn from_str(text: &str) -> Result<Self, BadRecipient> {
        let text = text.trim();
        let private = text.to_ascii_uppercase();
        if private.starts_with("AGE-SECRET-KEY-") || private.contains("PRIVATE KEY") {
            return Err(BadRecipient::Private);
        }
        // A second line would be another key, which nobody looked at.
        if text.contains(['\n', '\r']) {
            return Err(BadRecipient::Unknown);
        }
        if let Ok(key) = text.parse() {
            return Ok(Self(Key::Age(key)));
        }
        match text.parse() {
            Ok(key) => Ok(Self(Key::Ssh(key))),
            Err(Ssh::RsaModulusTooSmall) => Err(BadRecipient::Weak),
            Err(Ssh::RsaModulusTooLarge) => Err(BadRecipient::Long),
            Err(Ssh::Unsupported(_)) => Err(BadRecipient::Type),
            // Types that the parser does not know by name: NIST curves, keys in devices.
            _ if text.starts_with("ecdsa-") || text.starts_with("sk-") => Err(BadRecipient::Type),
            Err(_) => Err(BadRecipient::Unknown),
        }
    }
}

/// The key alone: two texts that differ in their comment are one recipient.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Key::Age(key) => key.fmt(f),
            Key::Ssh(key) => key.fmt(f),
        }
    }
}

impl From<x25519::Recipient> for Recipient {
    fn from(key: x25519::Recipient) -> Self {
        Self(Key::Age(key))
    }
}
