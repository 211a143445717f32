//! `[role.R]`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::read::{Entry, Field, Reader};
use super::resolve::Link;
use crate::inventory::{Credential, Inventory, Mark, Platform, Role, Vendor};

/// Keys of a role.
pub(super) const OF_ROLE: [&str; 12] = [
    "purpose",
    "owner",
    "authorized_by",
    "vendor",
    "delegates_to",
    "platform",
    "stop",
    "evidence",
    "uses",
    "contained",
    "disabled",
    "credential",
];

impl Reader<'_> {
    pub(super) fn role(
        &mut self,
        name: &Spanned<DeString<'_>>,
        field: &Field<'_>,
        inventory: &mut Inventory,
    ) {
        let Some(table) = field.get_ref().as_table() else { return };
        let entry = Entry { role: Some(name.get_ref()), credential: None };
        // Its own name is no good for saying whose it is.
        if !self.name(Entry::default(), name.get_ref(), name.span(), "a role")
            && name.get_ref().chars().any(char::is_control)
        {
            return;
        }
        self.sweep(entry, field, true);
        self.known_keys(entry, table, &OF_ROLE, "a role");
        let said = |text: Option<Spanned<String>>| text.map(Spanned::into_inner);
        let role = Role {
            name: name.get_ref().to_string(),
            span: field.span(),
            purpose: said(self.text(entry, table, "purpose")),
            owner: said(self.text(entry, table, "owner")),
            authorized_by: said(self.text(entry, table, "authorized_by")),
            vendor: self.vendor(entry, table),
            delegates_to: self.links(entry, table, "delegates_to"),
            platform: self.platform(entry, table),
            stop: self.command(entry, table, "stop"),
            evidence: self.evidence(entry, table),
            uses: self.links(entry, table, "uses"),
            contained: self.mark(entry, table, "contained"),
            disabled: self.mark(entry, table, "disabled"),
            credentials: self.credentials(entry, table),
        };
        inventory.roles.insert(role.name.clone(), role);
    }

    /// What the role names elsewhere, kept with its place until everything is read.
    fn links(&mut self, entry: Entry<'_>, table: &DeTable<'_>, key: &'static str) -> Vec<String> {
        let targets = self.strings(entry, table, key);
        for target in &targets {
            self.links.push(Link {
                role: entry.role.unwrap_or_default().to_owned(),
                key,
                target: target.get_ref().clone(),
                span: target.span(),
            });
        }
        targets.into_iter().map(Spanned::into_inner).collect()
    }

    fn vendor(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Option<Vendor> {
        let (name, contact) = self.pair(entry, table, "vendor", "contact")?;
        Some(Vendor { name, contact: contact.map(Spanned::into_inner) })
    }

    fn platform(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Option<Platform> {
        let (name, home) = self.pair(entry, table, "platform", "home")?;
        let home = home.filter(|home| {
            let absolute = is_absolute(home.get_ref());
            if !absolute {
                let hint = "write the whole path: a run may start in any directory";
                self.wrong(entry, home.span(), "`platform.home` is a relative path", hint);
            }
            absolute
        });
        Some(Platform { name, home: home.map(Spanned::into_inner) })
    }

    /// `KEY = { name, OTHER }`.
    fn pair(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        key: &str,
        other: &str,
    ) -> Option<(String, Option<Spanned<String>>)> {
        let (span, inner) = self.table(entry, table, key)?;
        self.known_keys(entry, inner, &["name", other], &format!("`{key}`"));
        let second = self.text(entry, inner, other);
        if inner.get("name").is_none() {
            let hint = format!("write {key} = {{ name = \"...\" }}");
            self.wrong(entry, span, &format!("`{key}.name` is missing"), &hint);
        }
        Some((self.text(entry, inner, "name")?.into_inner(), second))
    }

    fn evidence(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Vec<String> {
        let mut kept = Vec::new();
        for glob in self.strings(entry, table, "evidence") {
            if is_absolute(glob.get_ref()) {
                kept.push(glob.into_inner());
            } else {
                let hint = "write the whole path: a run may start in any directory";
                self.wrong(entry, glob.span(), "`evidence` holds a relative path", hint);
            }
        }
        kept
    }

    /// `contained` or `disabled`. Whatever is wrong inside, the role stays marked: a slip here must
    /// not let a rehearsal bring it back.
    fn mark(&mut self, entry: Entry<'_>, table: &DeTable<'_>, key: &str) -> Option<Mark> {
        let field = table.get(key)?;
        let Some((_, inner)) = self.table(entry, table, key) else {
            return Some(Mark::default()).filter(|_| !is_false(field));
        };
        self.known_keys(entry, inner, &["since", "because", "run"], &format!("`{key}`"));
        let since = match inner.get("since").map(Spanned::get_ref) {
            Some(DeValue::Datetime(at)) => Some(at.to_string()),
            _ => self.text(entry, inner, "since").map(Spanned::into_inner),
        };
        let because = self.text(entry, inner, "because").map(Spanned::into_inner);
        Some(Mark { since, because, run: self.text(entry, inner, "run").map(Spanned::into_inner) })
    }

    fn credentials(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Vec<Credential> {
        let Some(field) = table.get("credential") else { return Vec::new() };
        let Some(array) = field.get_ref().as_array() else {
            self.wrong_type(entry, "credential", field, "a list, [[role.ROLE.credential]]");
            return Vec::new();
        };
        let role = entry.role.unwrap_or_default();
        let mut credentials: Vec<Credential> = Vec::with_capacity(array.len());
        let mut first_by_name: BTreeMap<String, usize> = BTreeMap::new();
        for field in array.iter() {
            let Some(mut credential) = self.credential_of(role, field) else { continue };
            let first = first_by_name.get(&credential.name).and_then(|at| credentials.get(*at));
            match first {
                Some(first) => self.renamed(entry, first, &mut credential),
                None => {
                    first_by_name.insert(credential.name.clone(), credentials.len());
                }
            }
            credentials.push(credential);
        }
        credentials
    }

    /// Tells of a name given twice. The second is burned as much as the first: it goes on under
    /// its line, unless it is the same thing written twice.
    fn renamed(&mut self, entry: Entry<'_>, first: &Credential, second: &mut Credential) {
        let message =
            format!("`{}` is the name of the credential in line {}", second.name, first.line);
        let name = format!("{}@line-{}", second.name, second.line);
        let entry = Entry { credential: Some(&name), ..entry };
        self.wrong(entry, second.span.clone(), &message, "give it another name");
        second.unusable |= first.provider == second.provider && first.secret == second.secret;
        second.name = name;
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || matches!(path.as_bytes(), [_, b':', b'/' | b'\\', ..])
}

fn is_false(field: &Field<'_>) -> bool {
    matches!(field.get_ref(), DeValue::Boolean(false))
}
