//! What dies with a credential.

use serde::{Deserialize, Serialize};

use super::{KindCapability, Part, PartType, Way};

/// What dies with a credential, from narrow to wide.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Radius {
    /// It alone.
    Token,
    /// Its refresh family.
    Family,
    /// The grant.
    Grant,
    /// Everything of the project.
    Project,
    /// Everything of the client.
    Client,
    /// Everything of the user.
    User,
    /// Everything of the account.
    Account,
}

impl Radius {
    /// From narrow to wide.
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Family,
        Self::Grant,
        Self::Project,
        Self::Client,
        Self::User,
        Self::Account,
    ];

    /// Its name in provider files, on the command line and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Family => "family",
            Self::Grant => "grant",
            Self::Project => "project",
            Self::Client => "client",
            Self::User => "user",
            Self::Account => "account",
        }
    }
}

/// What a revocation kills, and which values make two credentials one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blast {
    /// How wide.
    pub kills: Radius,
    /// Names of vars, public parts or `handle`; equal values are one group.
    pub key: Vec<String>,
}

impl Blast {
    /// Whether others can die with it of which that is known before the run.
    pub(crate) fn makes_groups(&self) -> bool {
        self.kills > Radius::Token && !self.key.is_empty()
    }
}

impl KindCapability {
    /// What a way of revoking it ends.
    pub(crate) fn blast_of<'a>(&'a self, way: &'a Way) -> &'a Blast {
        way.blast.as_ref().unwrap_or(&self.blast)
    }

    /// Whether what a way ends is named by a handle of the credential's own: nothing else dies,
    /// however wide the word for it is.
    pub(crate) fn ends_its_own(&self, way: &Way) -> bool {
        self.names_its_own(self.blast_of(way))
    }

    /// Whether it dies together with what an earlier run left of it: nothing of its own tells the
    /// two apart.
    pub(crate) fn dies_with_its_leftovers(&self) -> bool {
        self.blast.makes_groups() && !self.names_its_own(&self.blast)
    }

    fn names_its_own(&self, blast: &Blast) -> bool {
        let is_handle = |part: &Part| part.part_type == PartType::Handle;
        let its_own =
            |name: &String| name == "handle" || self.parts.get(name).is_some_and(is_handle);
        blast.key.iter().any(its_own)
    }

    /// Whether nothing dies with it: the way ends one token, or what a handle of its own names.
    pub(crate) fn kills_only_it(&self, way: &Way) -> bool {
        self.blast_of(way).kills == Radius::Token || self.ends_its_own(way)
    }
}
