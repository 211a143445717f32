//! `[cmd.NAME]`: a place that commands read and write.

use toml::Spanned;
use toml::de::DeString;

use super::read::{Entry, Field, Reader};
use crate::inventory::{Inventory, SecretRef, StoreCommand};

impl Reader<'_> {
    pub(super) fn store_command(
        &mut self,
        name: &Spanned<DeString<'_>>,
        field: &Field<'_>,
        inventory: &mut Inventory,
    ) {
        let entry = Entry::default();
        let Some(table) = self.named_table(name, field, "a command", &["get", "set"]) else {
            return;
        };
        let Some(get) = self.command(entry, table, "get") else {
            if table.get("get").is_none() {
                let hint = "add the command that prints the value: get = [\"...\"]";
                self.wrong(entry, field.span(), "`get` is missing", hint);
            }
            return;
        };
        let set = self.command(entry, table, "set");
        let command = StoreCommand { get, set };
        self.commands.insert(name.get_ref().to_string(), command.set.is_some());
        inventory.commands.insert(name.get_ref().to_string(), command);
    }

    /// Whether a place of `cmd:` has its command.
    pub(super) fn has_command(
        &mut self,
        entry: Entry<'_>,
        key: &str,
        place: &SecretRef,
        field: &Field<'_>,
    ) -> bool {
        if place.scheme != "cmd" || self.commands.contains_key(&place.path) {
            return true;
        }
        let near = self.nearest.find(&place.path, self.commands.keys().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `cmd:{near}`?"),
            None => format!("add it: [cmd.{}], with get = [...]", place.path),
        };
        self.wrong(entry, field.span(), &format!("`{key}` names an unknown command"), &hint);
        false
    }

    /// Whether a new value can be written to a place.
    pub(super) fn is_writable(&self, place: &SecretRef) -> bool {
        place.is_writable()
            && (place.scheme != "cmd" || self.commands.get(&place.path).is_none_or(|sets| *sets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_what_is_wrong_with_them_is_told() {
        let text = r#"
[cmd.key]
get = ["pass", "show", "key"]
set = ["pass", "insert", "key"]
[cmd.read]
get = ["pass", "show", "read"]
[cmd.none]
set = ["pass"]
[[role.mail.credential]]
name = "a"
provider = "acme"
secret = "cmd:key"
deliver = ["cmd:key", "cmd:read"]
[[role.mail.credential]]
name = "b"
provider = "acme"
secret = "cmd:kye"
[admin.root]
provider = "acme"
secret = "env:ROOT"
vars = { region = "env:REGION" }
"#;
        let inventory = Inventory::parse(text).unwrap();
        assert_eq!(inventory.commands.len(), 2);
        assert_eq!(inventory.commands["key"].set.as_ref().unwrap()[1], "insert");
        assert_eq!(inventory.commands["read"].set, None);
        let told: Vec<_> = inventory.problems.iter().map(|p| format!("{}: {p}", p.line)).collect();
        let expected = [
            "7: `get` is missing",
            "13: mail/a: `deliver.1` cannot be written: it is only ever read",
            "17: mail/b: `secret` names an unknown command",
        ];
        assert_eq!(told, expected);
        assert_eq!(inventory.problems[2].hint.as_deref(), Some("did you mean `cmd:key`?"));
        assert_eq!(inventory.variables().into_iter().collect::<Vec<_>>(), ["REGION", "ROOT"]);
    }
}
