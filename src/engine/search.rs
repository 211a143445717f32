//! What a role holds beyond its entries: where to look, and what was found. No value is in it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::report::Unlisted;
use crate::inventory::{Credential, Inventory, Role};

/// Files of a role that may hold more than the inventory says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Files that what it holds lives in, or is delivered to.
    pub files: Vec<String>,
    /// The folder of its platform.
    pub home: Option<String>,
}

impl Search {
    /// Every file that a credential of the role, or one that it uses, lives in or is delivered to,
    /// and the home of its platform.
    pub fn of(inventory: &Inventory, role: &Role) -> Self {
        let used = inventory.credentials().filter_map(|(of, it)| {
            let id = format!("{}/{}", of?, it.name);
            role.uses.contains(&id).then_some(it)
        });
        let places = role.credentials.iter().chain(used).flat_map(Credential::places);
        let is_file = |scheme: &str| matches!(scheme, "file" | "dotenv" | "json" | "line");
        let files = places.filter(|it| is_file(&it.scheme));
        let files: BTreeSet<String> = files.map(|it| it.path.clone()).collect();
        let home = role.platform.as_ref().and_then(|platform| platform.home.clone());
        Self { files: files.into_iter().collect(), home }
    }

    /// Whether there is nothing to look through.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.home.is_none()
    }
}

/// What lies in the files of a role and stands in no inventory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scanned {
    /// Values of a known shape that no entry names.
    pub unlisted: Vec<Unlisted>,
    /// Other keys of the files that entries name.
    pub other_keys: Vec<String>,
    /// What was not looked through, and why.
    pub gaps: Vec<String>,
}
