//! What an inventory that others may have written is not allowed to do.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Credential, Inventory, LineIndex, Problem, Reload, SecretRef, VarValue, locate};

impl Inventory {
    /// Takes out what runs a command or sends a secret elsewhere: `stop`, `reload`, `cmd:` places
    /// and bases. Each is told as a problem of its entry, `because` in its message; what is left
    /// can be used. `text` is the one it was parsed from.
    pub fn withhold_code(&mut self, text: &str, because: &str) {
        let mut problems = Vec::new();
        let tell = |span: &Range<usize>, what: &str| {
            Problem::at(span.clone(), format!("{what} is not used: {because}"))
                .hint(YOURS.to_owned())
        };
        let moved = self.providers.values().filter(|it| !it.base.is_empty());
        let moved: BTreeSet<String> = moved.map(|it| it.id.clone()).collect();
        for provider in self.providers.values().filter(|it| moved.contains(&it.id)) {
            problems.push(tell(&provider.span, &format!("the address of `{}`", provider.id)));
        }
        self.drop_providers(&moved, because);
        self.commands.clear();
        for role in self.roles.values_mut() {
            if role.stop.take().is_some() {
                problems.push(tell(&role.span, "`stop`").of(Some(&role.name), None));
            }
            for credential in &mut role.credentials {
                for what in withhold(credential) {
                    let problem = tell(&credential.span, what);
                    problems.push(problem.of(Some(&role.name), Some(&credential.name)));
                }
            }
        }
        for credential in self.admins.values_mut() {
            for what in withhold(credential) {
                let problem = tell(&credential.span, what);
                problems.push(problem.of(None, Some(&credential.name)));
            }
        }
        self.problems.append(&mut problems);
        locate(&mut self.problems, text, &LineIndex::new(text));
    }

    /// Takes out providers at addresses that must not be called. Who is with them cannot be used:
    /// at the vendor's own address his secret would reach a stranger.
    pub(super) fn drop_providers(&mut self, ids: &BTreeSet<String>, because: &str) {
        if ids.is_empty() {
            return;
        }
        self.providers.retain(|id, _| !ids.contains(id));
        let roles = self.roles.values_mut();
        let of_roles = roles.flat_map(|role| {
            let name = &role.name;
            role.credentials.iter_mut().map(move |it| (Some(name.as_str()), it))
        });
        for (role, it) in of_roles.chain(self.admins.values_mut().map(|it| (None, it))) {
            if ids.contains(&it.provider) {
                it.unusable = true;
                let span = it.spans.get("provider").unwrap_or(&it.span).clone();
                let message = format!("[provider.{}] is not used: {because}", it.provider);
                self.problems.push(Problem::at(span, message).of(role, Some(&it.name)));
            }
        }
    }
}

const YOURS: &str = "make the file and the directories above it yours alone, then run again";

fn withhold(credential: &mut Credential) -> Vec<&'static str> {
    let mut taken = Vec::new();
    if matches!(credential.reload, Reload::Command(_)) {
        credential.reload = Reload::Unsaid;
        taken.push("`reload`");
    }
    let runs = |place: &SecretRef| place.scheme == "cmd";
    let had = credential.secret.len();
    credential.secret.retain(|_, place| !runs(place));
    if credential.secret.len() < had {
        credential.unusable |= credential.secret.is_empty() && credential.handle.is_none();
        taken.push("`cmd:` under `secret`");
    }
    let had = credential.deliver.len();
    credential.deliver.retain(|parts| !parts.values().any(runs));
    if credential.deliver.len() < had {
        taken.push("`cmd:` under `deliver`");
    }
    let had = credential.vars.len();
    credential.vars.retain(|_, it| !matches!(it, VarValue::Reference(place) if runs(place)));
    if credential.vars.len() < had {
        taken.push("`cmd:` under `vars`");
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_addresses_go_and_the_rest_stays() {
        let text = r#"
[cmd.vault]
get = ["vault", "get"]
set = ["vault", "set"]
[cmd.get]
get = ["vault", "get"]
[role.mail]
stop = ["systemctl", "stop", "mail"]
[[role.mail.credential]]
name = "a"
provider = "acme"
secret = "env:A"
deliver = ["cmd:vault", "file:/srv/a"]
reload = ["systemctl", "reload", "mail"]
[[role.mail.credential]]
name = "b"
provider = "acme"
secret = "cmd:get"
[provider.acme]
base = "https://elsewhere.example.com"
"#;
        let mut inventory = Inventory::parse(text).unwrap();
        assert_eq!(inventory.problems, []);
        inventory.withhold_code(text, "others may write it");
        let role = &inventory.roles["mail"];
        assert_eq!(role.stop, None);
        assert_eq!(role.credentials[0].reload, Reload::Unsaid);
        assert_eq!(role.credentials[0].deliver.len(), 1);
        assert!(role.credentials.iter().all(|it| it.unusable), "at whose address?");
        assert!(inventory.providers.is_empty() && inventory.commands.is_empty());
        let told: Vec<_> = inventory.problems.iter().map(|p| format!("{}: {p}", p.line)).collect();
        assert_eq!(
            told,
            [
                "7: mail: `stop` is not used: others may write it",
                "9: mail/a: `reload` is not used: others may write it",
                "9: mail/a: `cmd:` under `deliver` is not used: others may write it",
                "11: mail/a: [provider.acme] is not used: others may write it",
                "15: mail/b: `cmd:` under `secret` is not used: others may write it",
                "17: mail/b: [provider.acme] is not used: others may write it",
                "19: the address of `acme` is not used: others may write it",
            ]
        );
    }
}
