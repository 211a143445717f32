//! Credentials by the names that other entries call them.

use std::collections::BTreeMap;

use super::{Credential, Inventory};

/// Finds credentials by `ROLE/NAME` or an admin's name, in O(log n).
pub struct Index<'a>(BTreeMap<(Option<&'a str>, &'a str), &'a Credential>);

impl<'a> Index<'a> {
    /// Over all of an inventory.
    pub fn new(inventory: &'a Inventory) -> Self {
        let of_roles = inventory.roles.values().flat_map(|role| {
            let name = role.name.as_str();
            role.credentials.iter().map(move |it| ((Some(name), it.name.as_str()), it))
        });
        let admins = inventory.admins.values().map(|it| ((None, it.name.as_str()), it));
        Self(of_roles.chain(admins).collect())
    }

    /// `ROLE/NAME`, or the name of an `[admin.*]`.
    pub fn get(&self, target: &str) -> Option<&'a Credential> {
        let key = match target.split_once('/') {
            Some((role, name)) => (Some(role), name),
            None => (None, target),
        };
        self.0.get(&key).copied()
    }
}
