//! Secret references: where a secret lives. Parsed once, never holding a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `SCHEME:REST`, and at most one part of the stored value behind `::`.
///
/// `env:NAME`, `file:PATH`, `dotenv:PATH#KEY`, `json:PATH#/pointer`, `line:PATH#N`, `cmd:NAME`, and
/// what other stores bring. `::url.password`, `::url.user`, `::json/POINTER` and
/// `::cookie.NAME@DOMAIN` mean a part of the stored value; the rest is kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretRef {
    /// The store.
    pub scheme: String,
    /// Path or name, without the fragment.
    pub path: String,
    /// Behind `#`.
    pub fragment: Option<String>,
    /// Behind `::`.
    pub part: Option<Part>,
}

/// A part of a stored value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `url.password`.
    UrlPassword,
    /// `url.user`.
    UrlUser,
    /// `json/POINTER`, the pointer with its first slash.
    Json(String),
    /// `cookie.NAME@DOMAIN`.
    Cookie {
        /// The cookie's name.
        name: String,
        /// Its domain.
        domain: String,
    },
}

/// A reference that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadReference {
    /// Lower-case fragment; never repeats the text, which may be a secret put there by mistake.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UrlPassword => f.write_str("url.password"),
            Self::UrlUser => f.write_str("url.user"),
            Self::Json(pointer) => write!(f, "json{pointer}"),
            Self::Cookie { name, domain } => write!(f, "cookie.{name}@{domain}"),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.path)?;
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        if let Some(part) = &self.part {
            write!(f, "::{part}")?;
        }
        Ok(())
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for SecretRef {
    type Error = BadReference;

    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl std::str::FromStr for SecretRef {
    type Err = BadReference;

    fn from_str(_text: &str) -> Result<Self, BadReference> {
        todo!()
    }
}
