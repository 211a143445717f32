//! The plan as a person reads it before anything is touched. Plain data; no secret is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{Mode, Unlisted};

/// What a run is about to do: printed in five lines, or in full by `--dry-run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outline {
    /// The plan.
    pub mode: Mode,
    /// Roles, in the order they were named.
    pub roles: Vec<String>,
    /// Their capability owners, each once.
    pub owners: Vec<String>,
    /// SHA-256 of the inventory, hexadecimal.
    pub inventory_sha256: String,
    /// Every credential of the plan, in the plan's order.
    pub credentials: Vec<Planned>,
    /// Every host a secret can reach, each once.
    pub hosts: Vec<Host>,
    /// What dies outside the run.
    pub collateral: Vec<String>,
    /// Entries of the roles that no plan can use.
    pub not_planned: Vec<NotPlanned>,
    /// What lies in the files of the roles and stands in no entry; empty where nobody looked yet.
    #[serde(default)]
    pub unlisted: Vec<Unlisted>,
    /// Said before anything is touched.
    pub warnings: Vec<String>,
}

/// One credential of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// `ROLE/NAME`, or `admin.NAME`.
    pub id: String,
    /// The provider's id in this inventory.
    pub provider: String,
    /// The kind's name in the provider file.
    pub kind: String,
    /// What rotate can do for it: `full`, `revoke`, `probe-only`, `by-hand`, and its marks.
    pub level: String,
    /// Steps in order, one short phrase each.
    pub steps: Vec<String>,
    /// How the old one is revoked: by whom and where.
    pub revoke: String,
    /// Said of this credential.
    pub warnings: Vec<String>,
}

/// A host that a secret can reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its name, and its port where that is not the scheme's own.
    pub host: String,
    /// It is the inventory's word, not the vendor's.
    pub from_inventory: bool,
}

/// An entry that no plan can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotPlanned {
    /// `ROLE/NAME`.
    pub id: String,
    /// Why, in plain words, with the line of the inventory.
    pub why: String,
}
