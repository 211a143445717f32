//! What changed in an inventory since an earlier run: who tampers with it hides entries and adds
//! hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Inventory;

/// What an inventory listed for some roles, kept in the journal of each run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Credentials by role.
    pub(crate) roles: BTreeMap<String, BTreeSet<String>>,
    /// Hosts that a secret can reach, by provider.
    pub(crate) hosts: BTreeMap<String, BTreeSet<String>>,
}

impl Summary {
    /// Of some roles of an inventory; `hosts` tells those of a provider, as its file and the
    /// inventory together give them.
    pub(crate) fn new<'a>(
        inventory: &Inventory,
        roles: impl IntoIterator<Item = &'a str>,
        hosts: impl Fn(&str) -> Vec<String>,
    ) -> Self {
        let mut summary = Self::default();
        for name in roles {
            let Some(role) = inventory.roles.get(name) else { continue };
            let ids = role.credentials.iter().map(|it| it.name.clone()).collect();
            summary.roles.insert(name.to_owned(), ids);
            for credential in &role.credentials {
                if !summary.hosts.contains_key(&credential.provider) {
                    let hosts = hosts(&credential.provider).into_iter().collect();
                    summary.hosts.insert(credential.provider.clone(), hosts);
                }
            }
        }
        summary
    }
}

/// Entries that are gone, entries that are new and hosts that are new, one fragment each. Only
/// roles that both list are compared: another run may have been of other roles.
pub(crate) fn changes(old: &Summary, new: &Summary) -> Vec<String> {
    let mut changed = Vec::new();
    for (role, now) in &new.roles {
        let Some(before) = old.roles.get(role) else { continue };
        changed.extend(before.difference(now).map(|id| format!("{role}/{id} is gone")));
        changed.extend(now.difference(before).map(|id| format!("{role}/{id} is new")));
    }
    for (provider, now) in &new.hosts {
        let Some(before) = old.hosts.get(provider) else { continue };
        changed.extend(
            now.difference(before).map(|host| format!("{provider} reaches {host}, a new host")),
        );
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str, host: &str) -> Summary {
        let inventory = Inventory::parse(text).unwrap();
        Summary::new(&inventory, ["mail", "gone"], |_| vec![host.to_owned()])
    }

    #[test]
    fn what_is_gone_and_what_is_new() {
        let entry = |name: &str| {
            format!(
                "[[role.mail.credential]]\nname = '{name}'\nprovider = 'acme'\nsecret = 'env:A'\n"
            )
        };
        let old = summary(&(entry("a") + &entry("b")), "keys.example.com");
        let new = summary(&(entry("b") + &entry("c")), "keys.example.net");
        assert_eq!(
            changes(&old, &new),
            ["mail/a is gone", "mail/c is new", "acme reaches keys.example.net, a new host"]
        );
        assert_eq!(changes(&old, &old), [""; 0]);
        assert_eq!(changes(&Summary::default(), &new), [""; 0]);
    }

    #[test]
    fn it_is_kept_as_json() {
        let old = summary("[[role.mail.credential]]\nname = 'a'\nsecret = 'env:A'\n", "h");
        let text = serde_json::to_string(&old).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), old);
    }
}
