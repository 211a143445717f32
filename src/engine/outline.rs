//! The plan as a person reads it before anything is touched. Plain data; no secret is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{Mode, Unlisted};

/// What a run is about to do: printed in five lines, or in full by `--dry-run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Outline {
    /// The plan.
    pub(crate) mode: Mode,
    /// Roles, in the order they were named.
    pub(crate) roles: Vec<String>,
    /// Their capability owners, each once.
    pub(crate) owners: Vec<String>,
    /// SHA-256 of the inventory, hexadecimal.
    pub(crate) inventory_sha256: String,
    /// Every credential of the plan, in the plan's order.
    pub(crate) credentials: Vec<Planned>,
    /// Every host a secret can reach, each once.
    pub(crate) hosts: Vec<Host>,
    /// What dies outside the run.
    pub(crate) collateral: Vec<String>,
    /// Entries of the roles that no plan can use.
    pub(crate) not_planned: Vec<NotPlanned>,
    /// What lies in the files of the roles and stands in no entry; empty where nobody looked yet.
    #[serde(default)]
    pub(crate) unlisted: Vec<Unlisted>,
    /// Said before anything is touched.
    pub(crate) warnings: Vec<String>,
}

/// One credential of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Planned {
    /// `ROLE/NAME`, or `admin.NAME`.
    pub(crate) id: String,
    /// The provider's id in this inventory.
    pub(crate) provider: String,
    /// The kind's name in the provider file.
    pub(crate) kind: String,
    /// What rotate can do for it: `full`, `revoke`, `probe-only`, `by-hand`, and its marks.
    pub(crate) level: String,
    /// Steps in order, one short phrase each.
    pub(crate) steps: Vec<String>,
    /// By whom the old one is revoked; none where the plan revokes nothing.
    pub(crate) revoke: Option<String>,
    /// Said of this credential.
    pub(crate) warnings: Vec<String>,
}

/// A host that a secret can reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Host {
    /// Its name, and its port where that is not the scheme's own.
    pub(crate) host: String,
    /// It is the inventory's word, not the vendor's.
    pub(crate) from_inventory: bool,
}

/// An entry that no plan can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NotPlanned {
    /// `ROLE/NAME`.
    pub(crate) id: String,
    /// Why, in plain words, with the line of the inventory.
    pub(crate) why: String,
}
