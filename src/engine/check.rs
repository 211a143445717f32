//! The inventory against what the providers can do: what only the provider files can tell.

mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::Regex;
use serde_json::Value;

use super::capability::{Capabilities, KindCapability, KindRef, PartType, ProviderCapability, Var};
use crate::inventory::{Credential, Inventory, LineIndex, Nearest, Problem, VarValue, locate};

/// Adds to [`Inventory::problems`] what is wrong with providers, kinds, vars, parts, admins and
/// clients, each at its place in `text`, the one that was parsed. Fills in kinds that were left
/// out and vars with a default, and takes out what cannot be used.
///
/// A credential without a provider, kind or address is marked as unusable; everything else leaves
/// calls that can still end it.
pub fn check(inventory: &mut Inventory, capabilities: &Capabilities, text: &str) {
    let told = inventory.problems.iter().map(|problem| problem.span.start).collect();
    let mut check = Check {
        capabilities,
        told,
        problems: Vec::new(),
        nearest: Nearest::default(),
        regexes: BTreeMap::new(),
    };
    check.addresses(inventory);
    kinds::fill_in(inventory, capabilities);
    let known = known(inventory);
    for role in inventory.roles.values_mut() {
        for credential in &mut role.credentials {
            check.credential(Some(&role.name), credential, &known);
        }
    }
    for admin in inventory.admins.values_mut() {
        check.credential(None, admin, &known);
    }
    inventory.problems.append(&mut check.problems);
    locate(&mut inventory.problems, text, &LineIndex::new(text));
}

/// Provider and kind of every credential, by the name others call it.
type Known = BTreeMap<String, (String, Option<String>)>;

fn known(inventory: &Inventory) -> Known {
    let known = inventory.credentials().map(|(role, it)| {
        let name = role.map_or_else(|| it.name.clone(), |role| format!("{role}/{}", it.name));
        (name, (it.provider.clone(), it.kind.clone()))
    });
    known.collect()
}

struct Check<'a> {
    capabilities: &'a Capabilities,
    /// Where the text has been found wrong already: once is enough.
    told: BTreeSet<usize>,
    problems: Vec<Problem>,
    nearest: Nearest,
    /// Of `like`, anchored; none for one that its file should not have.
    regexes: BTreeMap<String, Option<Regex>>,
}

/// One credential under check.
struct Subject<'a> {
    role: Option<&'a str>,
    name: String,
    span: Range<usize>,
    spans: BTreeMap<String, Range<usize>>,
}

impl<'a> Subject<'a> {
    fn of(role: Option<&'a str>, it: &Credential) -> Self {
        Self { role, name: it.name.clone(), span: it.span.clone(), spans: it.spans.clone() }
    }

    /// The place of the first of these keys that was written, else the entry's header.
    fn place(&self, keys: &[&str]) -> Range<usize> {
        keys.iter().find_map(|key| self.spans.get(*key)).unwrap_or(&self.span).clone()
    }
}

impl Check<'_> {
    fn wrong(
        &mut self,
        subject: &Subject<'_>,
        keys: &[&str],
        message: String,
        hint: impl Into<Option<String>>,
    ) {
        let span = subject.place(keys);
        let problem = Problem::at(span, message).of(subject.role, Some(&subject.name)).hint(hint);
        self.problems.push(problem);
    }

    /// `[provider.*]` entries whose file does not exist.
    fn addresses(&mut self, inventory: &Inventory) {
        let files: BTreeSet<&str> =
            self.capabilities.providers.values().map(|it| it.file.as_str()).collect();
        for provider in inventory.providers.values() {
            let told = self.told.contains(&provider.span.start);
            if !told && !self.capabilities.providers.contains_key(&provider.id) {
                let message = format!(
                    "provider {}: there is no provider file `{}`",
                    provider.id, provider.file
                );
                let hint = self.nearest.hint(&provider.file, files.iter().copied());
                self.problems.push(Problem::at(provider.span.clone(), message).hint(hint));
            }
        }
    }

    fn credential(&mut self, role: Option<&str>, it: &mut Credential, known: &Known) {
        let subject = Subject::of(role, it);
        let capabilities = self.capabilities;
        let Some(provider) = capabilities.providers.get(&it.provider) else {
            it.unusable = true;
            return self.unknown_provider(&subject, &it.provider);
        };
        if provider.base_missing {
            it.unusable = true;
            let message = format!("provider `{}` needs an address", it.provider);
            let hint = format!(
                "add [provider.NAME] with file = \"{}\" and base = \"https://...\", and name it \
                 here",
                provider.file
            );
            self.wrong(&subject, &["provider"], message, hint);
        }
        let Some(kind) = self.kind_of(&subject, it.kind.as_deref(), provider) else {
            it.unusable = true;
            return;
        };
        self.vars(&subject, it, provider);
        self.parts(&subject, it, kind);
        self.admins(&subject, it, provider, kind, known);
    }

    fn unknown_provider(&mut self, subject: &Subject<'_>, id: &str) {
        // None given, or one of the inventory's that is wrong itself: told there.
        if id.is_empty() || self.told.contains(&subject.place(&["provider"]).start) {
            return;
        }
        let ids = self.capabilities.providers.keys().map(String::as_str);
        let hint = self.nearest.find(id, ids).map(|near| format!("did you mean `{near}`?"));
        let hint = hint.or_else(|| Some("rotate providers lists those there are".to_owned()));
        self.wrong(subject, &["provider"], format!("unknown provider `{id}`"), hint);
    }

    fn kind_of<'k>(
        &mut self,
        subject: &Subject<'_>,
        kind: Option<&str>,
        provider: &'k ProviderCapability,
    ) -> Option<&'k KindCapability> {
        let kinds = provider.kinds.keys().map(String::as_str);
        let Some(name) = kind else {
            // One that was written and could not be read has been told.
            if !subject.spans.contains_key("kind") {
                let message = format!("`kind` is missing: {} has several", provider.id);
                let hint = format!("add one of: {}", kinds.collect::<Vec<_>>().join(", "));
                self.wrong(subject, &["provider"], message, hint);
            }
            return None;
        };
        let found = provider.kinds.get(name);
        if found.is_none() {
            let hint = self.nearest.hint(name, kinds);
            self.wrong(subject, &["kind"], format!("{} has no kind `{name}`", provider.id), hint);
        }
        found
    }

    fn vars(&mut self, subject: &Subject<'_>, it: &mut Credential, provider: &ProviderCapability) {
        for (name, value) in &it.vars {
            let key = format!("vars.{name}");
            let Some(var) = provider.vars.get(name) else {
                let hint = match provider.vars.is_empty() {
                    true => Some("leave it out: this provider asks for none".to_owned()),
                    false => self.nearest.hint(name, provider.vars.keys().map(String::as_str)),
                };
                let message = format!("{} asks for no var `{name}`", provider.id);
                self.wrong(subject, &[&key, "vars"], message, hint);
                continue;
            };
            if let VarValue::Literal(value) = value
                && let Some(want) = self.misfit(var, value)
            {
                let message = format!("`{key}` {want}{}", said(var));
                self.wrong(subject, &[&key, "vars"], message, None);
            }
        }
        for (name, var) in &provider.vars {
            if it.vars.contains_key(name) {
                continue;
            }
            if let Some(default) = &var.default {
                it.vars.insert(name.clone(), VarValue::Literal(default.clone()));
            } else if is_asked(var, it, subject)
                && !subject.spans.contains_key(&format!("vars.{name}"))
            {
                let message = format!("`vars.{name}` is missing{}", said(var));
                let hint = format!("add it: vars = {{ {name} = \"...\" }}");
                self.wrong(subject, &["vars", "provider"], message, hint);
            }
        }
    }

    /// What a value should be and is not.
    fn misfit(&mut self, var: &Var, value: &Value) -> Option<String> {
        let words: Vec<String> = match value {
            Value::Array(items) => {
                items.iter().map(word).collect::<Option<_>>().unwrap_or_default()
            }
            value => word(value).into_iter().collect(),
        };
        let listed = |word: &String| var.one_of.contains(word);
        if !var.one_of.is_empty() && (words.is_empty() || !words.iter().all(listed)) {
            return Some(format!("must be one of {}", var.one_of.join(", ")));
        }
        let like = var.like.as_ref()?;
        let regex = self
            .regexes
            .entry(like.clone())
            .or_insert_with(|| Regex::new(&format!("^(?:{like})$")).ok())
            .as_ref()?;
        let fits = !words.is_empty() && words.iter().all(|word| regex.is_match(word));
        (!fits).then(|| format!("must look like {like}"))
    }

    fn parts(&mut self, subject: &Subject<'_>, it: &mut Credential, kind: &KindCapability) {
        let names = || kind.parts.keys().map(String::as_str);
        let shape = match kind.parts.len() {
            1 => String::new(),
            _ => format!(
                ": secret = {{ {} }}",
                names().map(|n| format!("{n} = \"...\"")).collect::<Vec<_>>().join(", ")
            ),
        };
        let given: Vec<String> = it.secret.keys().cloned().collect();
        for part in given.iter().filter(|part| !kind.parts.contains_key(*part)) {
            let key = format!("secret.{part}");
            let lone = !subject.spans.contains_key(&key);
            let message = match lone {
                _ if kind.parts.is_empty() => "the kind has no parts".to_owned(),
                true => "`secret` must be a table of the kind's parts".to_owned(),
                false => format!("the kind has no part `{part}`"),
            };
            let hint = match lone {
                _ if kind.parts.is_empty() => Some("leave `secret` out".to_owned()),
                true => Some(format!("write its parts{shape}")),
                false => self.nearest.hint(part, names()),
            };
            self.wrong(subject, &[&key, "secret"], message, hint);
            it.secret.remove(part);
        }
        for (name, part) in &kind.parts {
            let written = subject.spans.contains_key(&format!("secret.{name}"));
            let by_handle = part.part_type == PartType::Handle && it.handle.is_some();
            if part.optional || written || by_handle || it.secret.contains_key(name) {
                continue;
            }
            // Nothing at all: what was written has been told, and of a role that nothing was.
            if it.secret.is_empty() && (subject.role.is_some() || !given.is_empty()) {
                continue;
            }
            if !it.secret.is_empty() || !subject.spans.contains_key("secret") {
                let message = format!("part `{name}` is missing from `secret`");
                self.wrong(subject, &["secret"], message, format!("write its parts{shape}"));
            }
        }
        let is_secret = |name: &String| {
            kind.parts.get(name).is_some_and(|part| part.part_type == PartType::Secret)
        };
        it.unusable |=
            !kind.parts.is_empty() && it.handle.is_none() && !it.secret.keys().any(is_secret);
        let mut index = 0;
        it.deliver.retain(|place| {
            let key = format!("deliver.{index}");
            index += 1;
            let Some(part) = place.keys().find(|part| !kind.parts.contains_key(*part)) else {
                return true;
            };
            let hint = self.nearest.hint(part, names());
            let message = format!("`{key}`: the kind has no part `{part}`");
            self.wrong(subject, &[&format!("{key}.{part}"), &key], message, hint);
            false
        });
    }

    fn admins(
        &mut self,
        subject: &Subject<'_>,
        it: &mut Credential,
        provider: &ProviderCapability,
        kind: &KindCapability,
        known: &Known,
    ) {
        let label = format!("{} {}", provider.id, it.kind.as_deref().unwrap_or_default());
        it.admin.retain(|name, target| {
            let key = if name.is_empty() { "admin".to_owned() } else { format!("admin.{name}") };
            let Some(allowed) = kind.admin.get(name) else {
                let (message, hint) = misplaced_admin(&label, name, kind);
                self.wrong(subject, &[&key, "admin"], message, hint);
                return false;
            };
            self.stands(subject, &key, target, (provider, &label, allowed), known)
        });
        it.client = it.client.take().filter(|target| {
            self.stands(subject, "client", target, (provider, &label, &kind.client), known)
        });
        it.control = it.control.take().filter(|target| {
            let same = known.get(target).is_some_and(|(other, _)| *other == it.provider);
            if !same {
                let message = format!("control `{target}` is not a credential of {}", provider.id);
                let hint = "name one that the same probe accepts".to_owned();
                self.wrong(subject, &["control"], message, hint);
            }
            same
        });
    }

    /// Whether a credential may stand as another's admin or client.
    fn stands(
        &mut self,
        subject: &Subject<'_>,
        key: &str,
        target: &str,
        (provider, label, allowed): (&ProviderCapability, &str, &[KindRef]),
        known: &Known,
    ) -> bool {
        let what = if key == "client" { "client" } else { "admin" };
        if allowed.is_empty() {
            let message = format!("{label} takes no {what}");
            self.wrong(subject, &[key], message, "leave it out".to_owned());
            return false;
        }
        let Some((id, kind)) = known.get(target) else { return false };
        // Wrong itself, and told there: nobody can say whether it would do.
        let (Some(other), Some(kind)) = (self.capabilities.providers.get(id), kind) else {
            return false;
        };
        let fits = allowed.iter().any(|it| {
            it.kind == *kind
                && match &it.file {
                    // Of the same file it must be at the same address: its secret goes there.
                    None => other.id == provider.id,
                    Some(file) => other.file == *file,
                }
        });
        if !fits {
            let message =
                format!("{what} `{target}` is a {} {kind}, which {label} does not take", other.id);
            let of = |it: &KindRef| {
                format!("{} {}", it.file.as_deref().unwrap_or(&provider.id), it.kind)
            };
            let names: Vec<String> = allowed.iter().map(of).collect();
            self.wrong(
                subject,
                &[key, "admin"],
                message,
                format!("name one of: {}", names.join(", ")),
            );
        }
        fits
    }
}

fn misplaced_admin(label: &str, name: &str, kind: &KindCapability) -> (String, String) {
    let names: Vec<&str> = kind.admin.keys().map(String::as_str).collect();
    match (names.as_slice(), name) {
        ([], _) => (format!("{label} takes no admin"), "leave it out".to_owned()),
        ([""], _) => (
            format!("{label} takes one admin, not a table of them"),
            "write admin = \"NAME\"".to_owned(),
        ),
        (_, "") => {
            let fields: Vec<String> =
                names.iter().map(|name| format!("{name} = \"...\"")).collect();
            (
                format!("{label} takes a table of admins"),
                format!("write admin = {{ {} }}", fields.join(", ")),
            )
        }
        _ => (
            format!("{label} takes no admin `{name}`"),
            format!("use one of: {}", names.join(", ")),
        ),
    }
}

/// Whether a var without a default must be given. An admin that is not known to need one is not
/// asked: most vars tell where a role's credential belongs.
fn is_asked(var: &Var, it: &Credential, subject: &Subject<'_>) -> bool {
    if var.optional {
        return false;
    }
    match (var.kinds.is_empty(), &it.kind) {
        (false, Some(kind)) => var.kinds.contains(kind),
        _ => subject.role.is_some(),
    }
}

/// A value as a template puts it in; none for lists and tables.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn said(var: &Var) -> String {
    var.say.as_ref().map(|say| format!(" ({say})")).unwrap_or_default()
}
