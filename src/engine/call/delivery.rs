//! Writing a new credential to its places, and how far that came.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Party, Why};
use crate::inventory::SecretRef;

/// Writing a credential to its places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The new one.
    pub new: Party,
    /// The old one where it was read: a place that holds neither is somebody else's work and is
    /// left alone.
    pub old: Option<Party>,
    /// Its fingerprint where its bytes are not at hand.
    #[serde(default)]
    pub old_fingerprint: Option<String>,
    /// Part by part: one table per place that the credential goes to. Each is written as a whole
    /// or not at all, whatever becomes of the others.
    pub places: Vec<BTreeMap<String, SecretRef>>,
    /// Places among them that the new one was written to before: with no old one to compare with,
    /// what else they hold now is somebody else's work.
    #[serde(default)]
    pub written: BTreeSet<String>,
    /// All of them are written, or none.
    #[serde(default)]
    pub whole: bool,
    /// What makes the user of the place read it again; empty where nothing is named.
    pub reload: Vec<String>,
    /// The inventory says that the place is read on each use.
    pub read_on_use: bool,
}

/// One place of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The reference, as written in the inventory.
    pub to: String,
    /// How far it came.
    pub state: PlaceState,
}

/// One table of places that does not hold the new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotPlaced {
    /// Its references, as written in the inventory.
    pub to: Vec<String>,
    /// Why not.
    pub why: Why,
    /// Nobody knows: it may hold it all the same.
    pub unknown: bool,
}

/// How far a delivery to one place came.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceState {
    /// Written; reading it back was not possible.
    Written,
    /// Written, read back and compared.
    ReadBack,
    /// And its user was told to read it again.
    Reloaded,
    /// And it is read on each use.
    InUse,
}
