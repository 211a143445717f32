//! Private keys of people, in the files that they keep them in: age identities, ssh keys.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::secrecy::SecretString;
use age::ssh::{self, UnsupportedKey};
use zeroize::Zeroizing;

/// A private key that opens what was sealed to its public half.
pub(super) type Identity = Arc<dyn age::Identity + Send + Sync>;

/// A hundred age identities, or an RSA key of 4096 bits with room to spare.
const LONGEST: u64 = 65_536;

/// Private keys beside the one of this installation.
pub(crate) struct Identities(pub(super) Vec<Identity>);

/// A file of private keys cannot be used; nothing of its content is told.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", .path.display())]
pub(crate) struct BadIdentity {
    path: PathBuf,
    why: WhyBad,
}

/// Why a file of private keys cannot be used.
#[derive(Debug, thiserror::Error)]
enum WhyBad {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The wrong half of a key pair.
    #[error("holds a public key")]
    Public,
    /// Neither an age identity nor an ssh key.
    #[error("holds no private key")]
    NoKey,
    /// A passphrase is needed, and nobody is there to type it.
    #[error("is protected by a passphrase, and no terminal is there to ask for it")]
    Protected,
    /// The passphrase that was typed is another one's.
    #[error("does not open with this passphrase")]
    Passphrase,
    /// The encryption of PEM files, which is no protection.
    #[error("is protected in the old PEM format")]
    OldFormat,
    /// An ssh key that only signs, or lives in a device.
    #[error("holds an ssh key of a type that opens nothing")]
    Type,
    /// An age identity that is itself encrypted.
    #[error("is itself encrypted")]
    Encrypted,
    /// An age identity in a device, which a program of somebody else's asks.
    #[error("needs a plugin of age")]
    Plugin,
}

impl BadIdentity {
    /// What to do, as an imperative.
    pub(crate) fn hint(&self) -> String {
        let path = self.path.display();
        match self.why {
            WhyBad::Unreadable(_) => "name a file that you can read: --identity FILE".to_owned(),
            WhyBad::Public => "name the private half: --identity FILE".to_owned(),
            WhyBad::NoKey | WhyBad::Type => {
                "name a file of age-keygen, or an ssh-ed25519 or ssh-rsa key: --identity FILE"
                    .to_owned()
            }
            WhyBad::Protected => "run it on a terminal".to_owned(),
            WhyBad::Passphrase => "type the passphrase of the key itself".to_owned(),
            WhyBad::OldFormat => format!("convert a copy of it: ssh-keygen -p -f {path}"),
            WhyBad::Encrypted => format!("open it first: --identity <(age --decrypt {path})"),
            WhyBad::Plugin => "no plugin is run here: name the key of another recipient".to_owned(),
        }
    }
}

impl Identities {
    /// Reads a file of private keys: age identities, one a line, or one ssh key. `ask` is called
    /// with the file's name where a passphrase is needed, and gives none where nobody can answer.
    ///
    /// # Errors
    /// [`BadIdentity`].
    pub(crate) fn read(
        path: &Path,
        ask: impl FnOnce(&Path) -> Option<Zeroizing<String>>,
    ) -> Result<Self, BadIdentity> {
        let bad = |why| BadIdentity { path: path.to_owned(), why };
        let text = text(path).map_err(|error| bad(WhyBad::Unreadable(error)))?;
        let first = text.lines().map(str::trim).find(|it| !it.is_empty() && !it.starts_with('#'));
        let first = first.ok_or_else(|| bad(WhyBad::NoKey))?;
        if first.starts_with("age-encryption.org/") || first.starts_with("-----BEGIN AGE") {
            return Err(bad(WhyBad::Encrypted));
        }
        if first.starts_with("AGE-PLUGIN-") {
            return Err(bad(WhyBad::Plugin));
        }
        if first.starts_with("age1") || first.starts_with("ssh-") {
            return Err(bad(WhyBad::Public));
        }
        if !first.starts_with("-----BEGIN ") {
            let keys = age::IdentityFile::from_buffer(text.as_bytes())
                .map_err(|_| bad(WhyBad::NoKey))?
                .into_identities()
                .map_err(|_| bad(WhyBad::NoKey))?;
            return Ok(Self(keys.into_iter().map(Identity::from).collect()));
        }
        let key =
            ssh::Identity::from_buffer(text.as_bytes(), None).map_err(|_| bad(WhyBad::NoKey))?;
        let key = match key {
            ssh::Identity::Encrypted(key) => {
                let passphrase = ask(path).ok_or_else(|| bad(WhyBad::Protected))?;
                // Copied exactly: one that shrinks leaves its old self behind, unzeroed.
                let passphrase = SecretString::from(passphrase.as_str().to_owned());
                let key = key.decrypt(passphrase).map_err(|_| bad(WhyBad::Passphrase))?;
                ssh::Identity::from(key)
            }
            ssh::Identity::Unsupported(UnsupportedKey::EncryptedPem) => {
                return Err(bad(WhyBad::OldFormat));
            }
            ssh::Identity::Unsupported(_) => return Err(bad(WhyBad::Type)),
            key @ ssh::Identity::Unencrypted(_) => key,
        };
        Ok(Self(vec![Arc::new(key)]))
    }
}

/// A pipe has no length to go by, and a buffer that grows leaves copies behind.
fn text(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
    Ok(Zeroizing::new(text.to_owned()))
}
