//! `[[role.R.credential]]` and `[admin.A]`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::read::{Entry, Field, Reader, is_name};
use crate::inventory::{Credential, Inventory, Reload, SecretRef, VarValue};

/// Keys of a credential of a role.
pub(super) const OF_ROLE: [&str; 15] = [
    "name", "provider", "kind", "vars", "secret", "handle", "deliver", "reload", "admin", "client",
    "control", "scopes", "ttl", "through", "segment",
];

/// Keys of an admin: its name stands in the header, and it passes through nothing of an agent's.
const OF_ADMIN: [&str; 13] = [
    "provider", "kind", "vars", "secret", "handle", "deliver", "reload", "admin", "client",
    "control", "scopes", "ttl", "segment",
];

impl Reader<'_> {
    pub(super) fn admin(
        &mut self,
        name: &Spanned<DeString<'_>>,
        field: &Field<'_>,
        inventory: &mut Inventory,
    ) {
        let Some(table) = field.get_ref().as_table() else { return };
        let entry = Entry { role: None, credential: Some(name.get_ref()) };
        // Its own name is no good for saying whose it is.
        if !self.name(Entry::default(), name.get_ref(), name.span(), "an admin")
            && name.get_ref().chars().any(char::is_control)
        {
            return;
        }
        self.sweep(entry, field, true);
        self.known_keys(entry, table, &OF_ADMIN, "an admin");
        let credential = self.credential(entry, name.get_ref().to_string(), field.span(), table);
        inventory.admins.insert(credential.name.clone(), credential);
    }

    pub(super) fn credential_of(&mut self, role: &str, field: &Field<'_>) -> Option<Credential> {
        let entry = Entry { role: Some(role), credential: None };
        let Some(table) = field.get_ref().as_table() else {
            self.wrong_type(entry, "credential", field, "a table, [[role.ROLE.credential]]");
            return None;
        };
        let by_line = format!("line-{}", self.lines.line(field.span().start));
        let given = table.get("name").and_then(|name| name.get_ref().as_str());
        // Without a name that can be called, its line: contain can still end it.
        let name = given.filter(|name| is_name(name)).unwrap_or(&by_line);
        let entry = Entry { credential: Some(name), ..entry };
        self.sweep(entry, field, true);
        match table.get("name") {
            Some(name) => {
                if let Some(name) = self.string(entry, "name", name) {
                    self.name(entry, name.get_ref(), name.span(), "a credential");
                }
            }
            None => {
                let hint = "add a name: commands and the report call it ROLE/NAME";
                self.wrong(entry, field.span(), "`name` is missing", hint);
            }
        }
        self.known_keys(entry, table, &OF_ROLE, "a credential");
        let mut credential = self.credential(entry, name.to_owned(), field.span(), table);
        let through = self.strings(entry, table, "through");
        credential.through = through.into_iter().map(Spanned::into_inner).collect();
        Some(credential)
    }

    fn credential(
        &mut self,
        entry: Entry<'_>,
        name: String,
        span: Range<usize>,
        table: &DeTable<'_>,
    ) -> Credential {
        let line = self.lines.line(span.start);
        let mut it = Credential { name, span, line, ..Credential::default() };
        for key in ["provider", "kind", "admin", "client", "control", "vars", "secret", "scopes"] {
            if let Some(field) = table.get(key) {
                it.spans.insert(key.to_owned(), field.span());
            }
        }
        self.provider_of(entry, table, &mut it);
        it.kind = self.text(entry, table, "kind").map(Spanned::into_inner);
        it.vars = self.vars(entry, table, &mut it.spans);
        self.secret(entry, table, &mut it);
        it.handle = self.handle(entry, table);
        it.deliver = self.deliver(entry, table, &mut it.spans);
        it.reload = self.reload(entry, table);
        it.admin = self.admins_of(entry, table, &mut it.spans);
        it.client = self.text(entry, table, "client").map(Spanned::into_inner);
        it.control = self.text(entry, table, "control").map(Spanned::into_inner);
        let scopes = self.strings(entry, table, "scopes");
        it.scopes = scopes.into_iter().map(Spanned::into_inner).collect();
        it.ttl_ms = self.duration(entry, table, "ttl");
        it.segment = self.text(entry, table, "segment").map(Spanned::into_inner);
        // Nothing to use, and nothing to name it by at its provider.
        it.unusable |= entry.role.is_some() && it.secret.is_empty() && it.handle.is_none();
        it
    }

    fn provider_of(&mut self, entry: Entry<'_>, table: &DeTable<'_>, it: &mut Credential) {
        match self.text(entry, table, "provider") {
            Some(provider) => it.provider = provider.into_inner(),
            None => it.unusable = true,
        }
        if table.get("provider").is_none() {
            let hint = "add the id of its provider; rotate providers lists them";
            self.wrong(entry, it.span.clone(), "`provider` is missing", hint);
        }
    }

    fn secret(&mut self, entry: Entry<'_>, table: &DeTable<'_>, it: &mut Credential) {
        let Some(field) = table.get("secret") else {
            // An admin may be what this machine has anyway: the provider file tells.
            if entry.role.is_some() {
                let hint = "add where it lives now, such as dotenv:/srv/agent/.env#API_KEY";
                self.wrong(entry, it.span.clone(), "`secret` is missing", hint);
            }
            return;
        };
        it.secret = self.parts(entry, "secret", field, &mut it.spans);
    }

    /// One reference, or a table of them part by part.
    fn parts(
        &mut self,
        entry: Entry<'_>,
        key: &str,
        field: &Field<'_>,
        spans: &mut BTreeMap<String, Range<usize>>,
    ) -> BTreeMap<String, SecretRef> {
        let Some(table) = field.get_ref().as_table() else {
            let lone = self.place(entry, key, field);
            return lone.map(|place| ("secret".to_owned(), place)).into_iter().collect();
        };
        if table.is_empty() {
            self.wrong(entry, field.span(), &format!("`{key}` names no part"), "name its parts");
        }
        let mut parts = BTreeMap::new();
        for (part, field) in table {
            let name: &str = part.get_ref();
            if !self.name(entry, name, part.span(), "a part") {
                continue;
            }
            let shown = format!("{key}.{name}");
            spans.insert(shown.clone(), field.span());
            if let Some(place) = self.place(entry, &shown, field) {
                parts.insert(name.to_owned(), place);
            }
        }
        parts
    }

    fn deliver(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        spans: &mut BTreeMap<String, Range<usize>>,
    ) -> Vec<BTreeMap<String, SecretRef>> {
        let Some(field) = table.get("deliver") else { return Vec::new() };
        let Some(array) = field.get_ref().as_array() else {
            self.wrong_type(entry, "deliver", field, "a list of references, or of tables of them");
            return Vec::new();
        };
        let mut places = Vec::new();
        for (index, field) in array.iter().enumerate() {
            let key = format!("deliver.{index}");
            let parts = self.parts(entry, &key, field, spans);
            if parts.values().any(|place| !self.is_writable(place)) {
                let message = format!("`{key}` cannot be written: it is only ever read");
                self.wrong(
                    entry,
                    field.span(),
                    &message,
                    "name a place that keeps what is written",
                );
                continue;
            }
            if !parts.is_empty() {
                spans.insert(format!("deliver.{}", places.len()), field.span());
                places.push(parts);
            }
        }
        places
    }

    /// A string, or a number as some providers give it.
    fn handle(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Option<String> {
        match table.get("handle")?.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => self.text(entry, table, "handle").map(Spanned::into_inner),
        }
    }

    fn reload(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Reload {
        let Some(field) = table.get("reload") else { return Reload::Unsaid };
        match field.get_ref() {
            DeValue::String(text) if text == "none" => Reload::ReadOnUse,
            DeValue::Array(_) => match self.command(entry, table, "reload") {
                Some(argv) => Reload::Command(argv),
                None => Reload::Unsaid,
            },
            _ => {
                let want =
                    "a command as a list of arguments, or \"none\" where it is read on each use";
                self.wrong_type(entry, "reload", field, want);
                Reload::Unsaid
            }
        }
    }

    fn admins_of(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        spans: &mut BTreeMap<String, Range<usize>>,
    ) -> BTreeMap<String, String> {
        let Some(field) = table.get("admin") else { return BTreeMap::new() };
        let Some(inner) = field.get_ref().as_table() else {
            let lone = self.string(entry, "admin", field);
            return lone.map(|name| (String::new(), name.into_inner())).into_iter().collect();
        };
        let mut admins = BTreeMap::new();
        for (key, field) in inner {
            if !self.name(entry, key.get_ref(), key.span(), "an admin's part") {
                continue;
            }
            spans.insert(format!("admin.{}", key.get_ref()), field.span());
            if let Some(target) = self.string(entry, "admin", field) {
                admins.insert(key.get_ref().to_string(), target.into_inner());
            }
        }
        admins
    }

    fn vars(
        &mut self,
        entry: Entry<'_>,
        table: &DeTable<'_>,
        spans: &mut BTreeMap<String, Range<usize>>,
    ) -> BTreeMap<String, VarValue> {
        let Some((_, inner)) = self.table(entry, table, "vars") else { return BTreeMap::new() };
        let mut vars = BTreeMap::new();
        for (name, field) in inner {
            let key = format!("vars.{}", name.get_ref());
            if !self.name(entry, name.get_ref(), name.span(), "a var") {
                continue;
            }
            if let Some(value) = self.var(entry, &key, field) {
                vars.insert(name.get_ref().to_string(), value);
            }
            spans.insert(key, field.span());
        }
        vars
    }

    fn var(&mut self, entry: Entry<'_>, key: &str, field: &Field<'_>) -> Option<VarValue> {
        if let DeValue::String(text) = field.get_ref() {
            if SecretRef::is_meant(text) {
                return self.place(entry, key, field).map(VarValue::Reference);
            }
            let text = self.string(entry, key, field)?;
            return Some(VarValue::Literal(Value::String(text.into_inner())));
        }
        let literal = literal(field.get_ref());
        if literal.is_none() {
            self.wrong_type(entry, key, field, "a value that JSON has");
        }
        literal.map(VarValue::Literal)
    }
}

/// The value as JSON has it; none for what JSON has not (infinity, dates, numbers beyond 64 bits).
fn literal(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(it) => Value::Bool(*it),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok()?.into()
        }
        DeValue::Float(number) => {
            Value::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?)
        }
        DeValue::Array(array) => {
            Value::Array(array.iter().map(|it| literal(it.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let pair = |(key, it): (&Spanned<DeString<'_>>, &Field<'_>)| {
                Some((key.get_ref().to_string(), literal(it.get_ref())?))
            };
            Value::Object(table.iter().map(pair).collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) => return None,
    })
}
