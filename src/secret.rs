//! The only type that holds secret bytes.
//!
//! It has no `Debug`, `Display`, `Clone` or `Serialize`, and is zeroed on drop. Whoever needs the
//! bytes says [`Secret::expose`]; the tidy test lists every caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Secret bytes, zeroed when dropped.
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Takes ownership of the bytes; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        if bytes.capacity() == bytes.len() {
            return Self(SecretSlice::from(bytes));
        }
        // A vector with spare capacity would be copied into the box, and its own memory left as
        // it is; this one is copied exactly, and then zeroed.
        let bytes = Zeroizing::new(bytes);
        Self(SecretSlice::from(bytes.to_vec()))
    }

    /// The bytes themselves. Every caller is listed in the tidy test.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// A second copy, made on purpose: for a call in flight while the run keeps its own.
    pub fn duplicate(&self) -> Self {
        Self::new(self.expose().to_vec())
    }

    /// Whether both hold the same bytes, in time that depends on the length alone.
    pub fn same(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.expose(), other.expose());
        mine.len() == theirs.len()
            && mine.iter().zip(theirs).fold(0u8, |diff, (a, b)| diff | (a ^ b)) == 0
    }

    /// Whether there is nothing in it: an empty file, an unset value.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// The parts of one credential: what may be written down, and what may not.
#[derive(Default)]
pub struct Parts {
    /// Parts of type `public` or `handle`, by name.
    pub public: BTreeMap<String, Value>,
    /// Parts of type `secret`, by name.
    pub secret: BTreeMap<String, Secret>,
}

impl Parts {
    /// A second copy, made on purpose.
    pub fn duplicate(&self) -> Self {
        Self {
            public: self.public.clone(),
            secret: self.secret.iter().map(|(k, v)| (k.clone(), v.duplicate())).collect(),
        }
    }

    /// Takes what `later` brings over what is here: the steps of one issue add up.
    pub fn absorb(&mut self, later: Parts) {
        self.public.extend(later.public);
        self.secret.extend(later.secret);
    }
}

/// The key under which this installation makes fingerprints: a plain hash of a weak password
/// could be guessed, an HMAC cannot.
pub struct FingerprintKey(Secret);

impl FingerprintKey {
    /// Takes the installation's 32 random bytes.
    pub fn new(key: Secret) -> Self {
        Self(key)
    }

    /// 24 hexadecimal digits (96 bits: no collision among a million credentials) that name the
    /// secret parts of a credential without telling anything of them.
    pub fn of(&self, parts: &Parts) -> String {
        // HMAC takes a key of any length, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose()) else {
            return String::new();
        };
        for (name, secret) in &parts.secret {
            mac.update(&(name.len() as u64).to_be_bytes());
            mac.update(name.as_bytes());
            mac.update(&(secret.expose().len() as u64).to_be_bytes());
            mac.update(secret.expose());
        }
        let mut digits = String::with_capacity(24);
        for byte in mac.finalize().into_bytes().iter().take(12) {
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}
