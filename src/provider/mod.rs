//! Providers: one request at a time, no retries, no sleeping, no logging of bodies.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use async_trait::async_trait;

use crate::engine::call::{Answer, At, Fault, Reason, Values, Verb};
use crate::engine::capability::{ProviderCapability, Way};
use crate::secret::{Parts, Secret};

mod aws_iam;
pub mod catalog;
mod client;
mod github;
pub mod http;
mod native;
mod node;
pub mod oauth;
mod redis;
mod roots;
mod session;
pub mod spec;
mod stream;
mod transport;

pub use self::aws_iam::AwsIam;
pub use self::github::Github;
pub use self::redis::Redis;
pub use self::session::WebSession;
pub use client::{Clients, NoClient, SharedClients};

/// One credential taking part in a call, with its bytes.
pub struct Acting {
    /// The provider it belongs to.
    pub provider: String,
    /// Its kind there.
    pub kind: String,
    /// Its vars.
    pub vars: Values,
    /// Its parts.
    pub parts: Parts,
}

/// Who takes part in a call: `it`, `old`, `new`, `admin`, `admin.NAME`, `client`.
pub type Secrets = BTreeMap<String, Acting>;

/// An answer, and the secret parts it brought (issue and roll only).
pub struct Reply {
    /// What the engine hears. `Issued` comes with an empty fingerprint: the world fills it in.
    pub answer: Answer,
    /// Parts of the new one.
    pub brought: Option<Parts>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, brought: None }
    }
}

/// A system that issues and revokes credentials.
///
/// One request per call; retries, limits, back-off and deadlines are the engine's.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it can do.
    fn capability(&self) -> &ProviderCapability;

    /// Makes one call: the plan names verb, way and step.
    async fn call(&self, at: &At, values: &Values, secrets: &Secrets) -> Reply;

    /// Splits named groups of the kind's shape out of the value that was read.
    fn split(&self, _kind: &str, _parts: &mut Parts) {}

    /// Made-up parts of the same shape, for the negative control. Public parts stay.
    fn made_up(&self, kind: &str, parts: &Parts) -> Parts;

    /// Chooses the bytes of a new credential, where the kind says that we do.
    fn generate(&self, _kind: &str) -> Option<Secret> {
        None
    }
}

/// The addresses of one provider in this run: base name to URL, `api` the unnamed one, vars of the
/// acting credential already in place.
pub type Bases = BTreeMap<String, url::Url>;

/// Native code behind kinds that name it as their `driver`: it answers every verb that the kind
/// does not write in its file.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The verbs it answers for a kind, as the planner needs them.
    fn ways(&self, kind: &str) -> BTreeMap<Verb, Vec<Way>>;

    /// Whether its probe of that kind tells who was accepted.
    fn tells_identity(&self, kind: &str) -> bool;

    /// Makes one call.
    async fn call(&self, bases: &Bases, at: &At, values: &Values, secrets: &Secrets) -> Reply;

    /// How it obtains a new credential with a person, at endpoints that a file names; none where
    /// nobody can be asked, or where this code asks nobody.
    fn consent(&self, _file: &spec::Consent) -> Option<Way> {
        None
    }

    /// Asks a person for a new credential, at endpoints that a file names.
    async fn consented(
        &self,
        _file: &spec::Consent,
        _bases: &Bases,
        _at: &At,
        _values: &Values,
        _secrets: &Secrets,
    ) -> Reply {
        Answer::Fault(Fault::Refused(Reason::Unsupported.into())).into()
    }
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
