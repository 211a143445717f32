//! The inventory: every credential granted to each role. Text in, types out; pure.
//!
//! [`Inventory::parse`] fails only where nothing can be understood. Everything else that is wrong
//! is collected in [`Inventory::problems`], and what it stands in is used as far as it can be: a
//! slip in one entry must not keep another one alive. No secret is ever held here: one that was
//! written into the text is overwritten before anything is parsed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde_json::Value;
use zeroize::Zeroizing;

mod changes;
pub(crate) mod durations;
mod excerpt;
pub(crate) mod leak;
pub(crate) mod mark;
mod parse;
mod position;
mod reference;
mod similarity;
mod withhold;

pub(crate) use changes::{Summary, changes};
pub use excerpt::render;
pub(crate) use parse::{NoText, decode};
pub(crate) use position::{LineIndex, locate};
pub use reference::{BadReference, CookieName, Part, SecretRef};
pub use similarity::{Nearest, nearest};

/// What the text says, every reference resolved.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// `[admin.NAME]`: credentials that issue and revoke, or stand as client.
    pub admins: BTreeMap<String, Credential>,
    /// `[provider.ID]`: provider files at other addresses.
    pub providers: BTreeMap<String, ProviderAt>,
    /// `[cmd.NAME]`: places that commands read and write.
    pub commands: BTreeMap<String, StoreCommand>,
    /// Everything that is wrong with it, in order of appearance.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte range in the text.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The role it stands in, if any.
    pub role: Option<String>,
    /// The credential it stands in, if any.
    pub credential: Option<String>,
    /// Lower-case fragment. Never a secret.
    pub message: String,
    /// An imperative: what to do.
    pub hint: Option<String>,
    /// A byte range that may hold a secret: excerpts show it as dots.
    pub mask: Option<Range<usize>>,
}

/// A secret that stands in the text itself, for the one store that may read it there.
///
/// `reference` is one that [`Inventory::parse`] made of it (`inventory:START-END`); none if it does
/// not name a TOML string of this text.
pub fn literal(text: &str, reference: &SecretRef) -> Option<Zeroizing<String>> {
    let (start, end) = reference.path.split_once('-')?;
    let source = text.get(start.parse().ok()?..end.parse().ok()?)?;
    match toml::de::DeValue::parse(source).ok()?.into_inner() {
        toml::de::DeValue::String(value) => Some(Zeroizing::new(value.into_owned())),
        _ => None,
    }
}

impl Problem {
    pub(crate) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            line: 0,
            column: 0,
            role: None,
            credential: None,
            message: message.into(),
            hint: None,
            mask: None,
        }
    }

    /// What a provider file does not allow of a `[provider.*]`.
    pub fn of_provider(span: Range<usize>, message: &str, hint: Option<String>) -> Self {
        Self::at(span, message).hint(hint)
    }

    pub(crate) fn of(mut self, role: Option<&str>, credential: Option<&str>) -> Self {
        self.role = role.map(str::to_owned);
        self.credential = credential.map(str::to_owned);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn masking(mut self, span: Range<usize>) -> Self {
        self.mask = Some(span);
        self
    }
}

/// `ROLE/NAME: what is wrong`, without its place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.role, &self.credential) {
            (Some(role), Some(credential)) => write!(f, "{role}/{credential}: ")?,
            (Some(name), None) => write!(f, "{name}: ")?,
            (None, Some(name)) => write!(f, "admin {name}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

/// A text that is no TOML: nothing in it can be understood, and nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", one_line_each(&self.0))]
pub struct Problems(pub Vec<Problem>);

fn one_line_each(problems: &[Problem]) -> String {
    let line = |p: &Problem| format!("line {}, column {}: {p}", p.line, p.column);
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One agent role.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub span: Range<usize>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Capability owner: can prevent recurrence.
    pub owner: Option<String>,
    /// Authorizing party: knows what was supposed to happen.
    pub authorized_by: Option<String>,
    /// The model vendor's part.
    pub vendor: Option<Vendor>,
    /// Roles it can hand work and credentials to.
    pub delegates_to: Vec<String>,
    /// The agent platform it runs on.
    pub platform: Option<Platform>,
    /// The command that ends the agent.
    pub stop: Option<Vec<String>>,
    /// Globs of what to save first.
    pub evidence: Vec<String>,
    /// Credentials of other roles that it holds too, `ROLE/NAME`.
    pub uses: Vec<String>,
    /// `contained = {...}`: no rehearsal until a person restores it.
    pub contained: Option<Mark>,
    /// `disabled = {...}`.
    pub disabled: Option<Mark>,
    /// Its credentials, in order of appearance.
    pub credentials: Vec<Credential>,
}

/// The vendor of the model that the role runs on.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct Vendor {
    /// Its name.
    pub name: String,
    /// Where it takes reports.
    pub contact: Option<String>,
}

/// The agent platform of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub home: Option<String>,
}

/// Since when, and why, a role may not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// As written.
    pub since: Option<String>,
    /// Why.
    pub because: Option<String>,
    /// The run that contained it.
    pub run: Option<String>,
}

/// A value the inventory gives: literally, or by reference.
#[derive(Clone, Debug, PartialEq)]
pub enum VarValue {
    /// As it stands.
    Literal(Value),
    /// To be read from there; public all the same.
    Reference(SecretRef),
}

/// How the user of a place learns of the new value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// Nothing is said.
    #[default]
    Unsaid,
    /// `"none"`: it is read on each use.
    ReadOnUse,
    /// A command, argument by argument.
    Command(Vec<String>),
}

/// One credential, of a role or an `[admin.*]`.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// Its name in the role, or of the admin. One that has none, or has another's, is known by its
    /// line: `line-57`, `openai@line-57`.
    pub name: String,
    /// Too much is wrong with it for any call: contain leaves it out and reports its line. What
    /// else is wrong with an entry is a problem, but no reason to leave a credential alive.
    pub unusable: bool,
    /// Where it stands.
    pub span: Range<usize>,
    /// Line of its table header, from 1.
    pub line: usize,
    /// Provider id: a file's, or a `[provider.*]`.
    pub provider: String,
    /// Its kind there; may be left out when the file has, or allows, only one.
    pub kind: Option<String>,
    /// Values the provider file asks for.
    pub vars: BTreeMap<String, VarValue>,
    /// Where each part lives now; a lone reference stands under `secret`.
    pub secret: BTreeMap<String, SecretRef>,
    /// The provider's id, where it is known.
    pub handle: Option<String>,
    /// Where else a new one goes, part by part.
    pub deliver: Vec<BTreeMap<String, SecretRef>>,
    /// How its user learns of the new one.
    pub reload: Reload,
    /// Who may issue and revoke: by name where the kind asks for several, else under "".
    pub admin: BTreeMap<String, String>,
    /// The OAuth client it was granted to: `ROLE/NAME` or an admin's name.
    pub client: Option<String>,
    /// A live credential for the positive control: `ROLE/NAME` or an admin's name.
    pub control: Option<String>,
    /// Rights of a new one.
    pub scopes: Vec<String>,
    /// Life of a new one, milliseconds.
    pub ttl_ms: Option<u64>,
    /// What it passed through.
    pub through: Vec<String>,
    /// Network segment that reaches its provider.
    pub segment: Option<String>,
    /// Spans of the values above by dotted key (`admin`, `admin.server`, `vars.project`,
    /// `secret.sid`, `deliver.0`, `deliver.0.sid`), so that what only the provider file can tell is
    /// reported at its place.
    pub spans: BTreeMap<String, Range<usize>>,
}

impl Credential {
    /// Where it lives, and where else a new one goes.
    pub fn places(&self) -> impl Iterator<Item = &SecretRef> {
        self.secret.values().chain(self.deliver.iter().flat_map(BTreeMap::values))
    }
}

/// A place that commands read and write, each argument by argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreCommand {
    /// Prints the value.
    pub get: Vec<String>,
    /// Takes a new one on stdin; none where it is only ever read.
    pub set: Option<Vec<String>>,
}

impl Inventory {
    /// Every credential: those of each role, by its name, then the admins.
    pub fn credentials(&self) -> impl Iterator<Item = (Option<&str>, &Credential)> {
        let of_roles = self.roles.values().flat_map(|role| {
            role.credentials.iter().map(move |credential| (Some(role.name.as_str()), credential))
        });
        of_roles.chain(self.admins.values().map(|admin| (None, admin)))
    }

    /// Whether a place is one that is only ever read, and new values get there by hand.
    pub(crate) fn is_only_read(&self, place: &SecretRef) -> bool {
        match place.scheme.as_str() {
            "env" | "line" => true,
            "cmd" => self.commands.get(&place.path).is_some_and(|command| command.set.is_none()),
            _ => false,
        }
    }

    /// The variables that its references name: what they hold is no command's business.
    pub fn variables(&self) -> BTreeSet<String> {
        let places = self.credentials().flat_map(|(_, it)| {
            let vars = it.vars.values().filter_map(|value| match value {
                VarValue::Reference(place) => Some(place),
                VarValue::Literal(_) => None,
            });
            it.places().chain(vars)
        });
        places.filter(|place| place.scheme == "env").map(|place| place.path.clone()).collect()
    }
}

/// A provider file at another address.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProviderAt {
    /// The id it has in this inventory.
    pub id: String,
    /// Where it stands.
    pub span: Range<usize>,
    /// The provider file; the id itself where none is named.
    pub file: String,
    /// Its bases by name; a lone URL stands under `api`.
    pub base: BTreeMap<String, String>,
    /// What the user knows of the server.
    pub proof: ProofAt,
    /// As in a provider file: `calls`, `revoke`, `refused` as `N/s|m|h|d`, and `in_flight`.
    pub limits: BTreeMap<String, Value>,
}

/// What the user knows of a server's flapping; each replaces the file's figure.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProofAt {
    /// Refusals in a row.
    pub refusals: Option<u32>,
    /// Milliseconds.
    pub hold_ms: Option<u64>,
    /// Milliseconds.
    pub give_up_ms: Option<u64>,
    /// Probes it may cost.
    pub probes: Option<u32>,
}
