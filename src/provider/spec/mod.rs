//! A provider file, parsed so that it cannot be wrong: every name in it is resolved, every rule of
//! the format checked, every recorded exchange replayed, before any call is made.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::engine::capability::{Limits, Var};
use crate::inventory::{NoText, Problem};

pub(crate) mod call;
mod checksum;
mod example;
mod file;
mod head;
pub(crate) mod judge;
pub(crate) mod kind;
mod level;
pub(crate) mod marker;
mod page;
pub(crate) mod predicate;
mod reader;
mod rules;
pub(crate) mod shape;
pub(crate) mod verb;

pub use example::{Example, Means, Mismatch};
pub use verb::Consent;

use kind::Kind;
use marker::Text;
use predicate::{Limited, Pointer};

pub(crate) use level::capability;
pub(crate) use reader::{did_you_mean, rate};

/// One thing that is wrong with a provider file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SpecError {
    /// The file, as it was named.
    pub file: String,
    /// Byte range in the text.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Lower-case fragment.
    pub message: String,
    /// An imperative: what to do.
    pub hint: Option<String>,
}

/// What is wrong with a file that is no text.
pub(crate) fn no_text(NoText { problem, .. }: NoText, file: &str) -> SpecError {
    let Problem { span, line, column, message, hint, .. } = problem;
    SpecError { file: file.to_owned(), span, line, column, message, hint }
}

/// Where calls go.
#[derive(Debug)]
pub(crate) enum Base {
    /// Nothing built in: the inventory must say.
    Inventory,
    /// By name, `api` the unnamed one.
    Fixed(BTreeMap<String, Text>),
}

/// A checked provider file.
#[derive(Debug)]
pub struct Spec {
    /// Equals the file's name.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where it is documented.
    pub docs: String,
    /// The day its lines were last held against that.
    pub checked: String,
    /// The built-in that a user's file stands for.
    pub replaces: Option<String>,
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// Recorded exchanges.
    pub examples: Vec<Example>,
    pub(crate) base: Base,
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) error: Option<Pointer>,
    pub(crate) limits: Limits,
    pub(crate) limited: Vec<Limited>,
    pub(crate) vars: BTreeMap<String, Var>,
    pub(crate) kinds: BTreeMap<String, Arc<Kind>>,
}

impl Spec {
    /// Names of its kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The kinds whose shape the value has: a shape identifies by itself.
    pub fn identify(&self, value: &str) -> impl Iterator<Item = &str> {
        self.kinds.iter().filter_map(move |(name, kind)| {
            let shape = kind.head.shape.as_ref()?;
            shape.matches(value).then_some(name.as_str())
        })
    }

    /// Where values of its shapes stand in a text, and of which kind each is.
    pub(crate) fn find(&self, text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
        let shaped =
            self.kinds.iter().filter_map(|(name, kind)| Some((name, kind.head.shape.as_ref()?)));
        shaped.flat_map(move |(name, shape)| {
            shape.find(text).into_iter().map(move |span| (span, name.as_str()))
        })
    }

    /// Made-up values of every shape in it.
    pub(crate) fn samples(&self, each: usize) -> Vec<zeroize::Zeroizing<String>> {
        let mut random = rand::rng();
        let shapes = self.kinds.values().filter_map(|kind| kind.head.shape.as_ref());
        let mut samples = Vec::new();
        for shape in shapes {
            samples.extend((0..each).map(|_| shape.sample(&BTreeMap::new(), &mut random)));
        }
        samples
    }

    /// Whether any kind is answered by native code.
    pub(crate) fn has_driver(&self) -> bool {
        self.kinds.values().any(|kind| kind.head.driver.is_some())
    }

    /// The bases that its calls go to; `api` where none is named.
    pub(crate) fn bases(&self) -> Vec<&str> {
        let verbs = self.kinds.values().flat_map(|kind| kind.verbs.values().flatten());
        let calls = verbs.flat_map(|way| &way.steps);
        let logins = self.kinds.values().filter_map(|kind| kind.login.as_ref());
        let named = calls.chain(logins).map(|call| match &call.target {
            call::Target::Path { base, .. } => base.as_str(),
            call::Target::Whole(_) => "api",
        });
        let mut bases: Vec<&str> = named.chain(["api"]).collect();
        bases.sort_unstable();
        bases.dedup();
        bases
    }

    /// Hosts of one base: a closed list is written out, an open label is a star.
    pub(crate) fn hosts_of(&self, base: &str) -> Vec<String> {
        level::hosts_of(self, base)
    }

    /// The endpoints a person's consent needs, where the file names them.
    pub fn consent(&self, kind: &str) -> Option<&Consent> {
        self.kinds.get(kind)?.consent.as_ref()
    }
}

/// Reads and checks the text of a provider file; `file_name` is its name with or without folders,
/// and the `id` in it must equal the name without `.toml`.
///
/// # Errors
/// Everything that is wrong with it, in order of appearance.
pub fn check(text: &str, file_name: &str) -> Result<Spec, Vec<SpecError>> {
    let errors = reader::Errors::new(file_name, text);
    let sha256 = super::hex(&Sha256::digest(text));
    let spec = file::read(text, file_name, sha256, &errors);
    if let Some(spec) = &spec {
        rules::check(spec, &errors);
    }
    match (spec, errors.into_sorted()) {
        (Some(spec), found) if found.is_empty() => Ok(spec),
        (_, found) => Err(found),
    }
}

/// The page of the file for people, in Markdown, under `rotate providers ID` and in the manual.
pub fn document(spec: &Spec) -> String {
    page::page(spec)
}

#[cfg(test)]
mod tests;
