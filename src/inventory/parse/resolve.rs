//! What entries call each other: every name resolved, or told and taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::read::{Entry, Reader};
use crate::inventory::{Credential, Inventory, Role};

/// A role's word for something elsewhere.
pub(super) struct Link {
    pub(super) role: String,
    pub(super) key: &'static str,
    pub(super) target: String,
    pub(super) span: Range<usize>,
}

/// Takes out what names nothing, and what makes a circle: the rest is a graph without circles that
/// a plan can be made of.
pub(super) fn resolve(inventory: &mut Inventory, reader: &mut Reader<'_>) {
    let names = Names::of(inventory);
    for link in std::mem::take(&mut reader.links) {
        names.role_link(&link, reader);
    }
    for (name, role) in &mut inventory.roles {
        role.uses.retain(|target| names.stands(name, "uses", target));
        role.delegates_to.retain(|target| names.stands(name, "delegates_to", target));
    }
    for (id, credential) in credentials_mut(inventory) {
        names.credential(&id, credential, reader);
    }
    break_circles(inventory, reader);
}

/// A credential as others call it: its role, and its name there; no role for an admin.
type Id = (Option<String>, String);

fn credentials_mut(inventory: &mut Inventory) -> impl Iterator<Item = (Id, &mut Credential)> {
    let of_roles = inventory.roles.values_mut().flat_map(|role| {
        let name = &role.name;
        role.credentials.iter_mut().map(move |it| ((Some(name.clone()), it.name.clone()), it))
    });
    let admins = inventory.admins.values_mut().map(|it| ((None, it.name.clone()), it));
    of_roles.chain(admins)
}

/// Every name that can be called.
struct Names {
    by_role: BTreeMap<String, BTreeSet<String>>,
    admins: BTreeSet<String>,
}

impl Names {
    fn of(inventory: &Inventory) -> Self {
        let names = |role: &Role| role.credentials.iter().map(|it| it.name.clone()).collect();
        Self {
            by_role: inventory
                .roles
                .iter()
                .map(|(name, role)| (name.clone(), names(role)))
                .collect(),
            admins: inventory.admins.keys().cloned().collect(),
        }
    }

    fn has(&self, target: &str) -> bool {
        match target.split_once('/') {
            Some((role, name)) => self.by_role.get(role).is_some_and(|names| names.contains(name)),
            None => self.admins.contains(target),
        }
    }

    fn role_link(&self, link: &Link, reader: &mut Reader<'_>) {
        let Link { role, key, target, span } = link;
        if self.stands(role, key, target) {
            return;
        }
        let entry = Entry { role: Some(role), credential: None };
        if of_role(target) == role {
            let message = format!("`{key}` names the role itself");
            return reader.wrong(entry, span.clone(), &message, "leave it out");
        }
        let what = if *key == "uses" { "credential" } else { "role" };
        let hint = match *key {
            "uses" if !target.contains('/') => "write ROLE/NAME".to_owned(),
            "uses" => did_you_mean(self.near_credential(target, reader)),
            _ => did_you_mean(reader.nearest.find(target, self.roles()).map(str::to_owned)),
        };
        reader.wrong(entry, span.clone(), &unknown(key, what, target), &hint);
    }

    /// Whether what a role names elsewhere exists, elsewhere.
    fn stands(&self, role: &str, key: &str, target: &str) -> bool {
        of_role(target) != role
            && match key {
                "uses" => target.contains('/') && self.has(target),
                _ => self.by_role.contains_key(target),
            }
    }

    fn credential(&self, (role, name): &Id, it: &mut Credential, reader: &mut Reader<'_>) {
        let entry = Entry { role: role.as_deref(), credential: Some(name) };
        let own = role.as_ref().map_or_else(|| name.clone(), |role| format!("{role}/{name}"));
        let mut stays = |key: &str, target: &str, spans: &BTreeMap<String, Range<usize>>| {
            let span = spans.get(key).cloned().unwrap_or_default();
            if key == "control" && target == own {
                let hint = "name another live credential of the same provider";
                reader.wrong(entry, span, "`control` names the credential itself", hint);
                return false;
            }
            if self.has(target) {
                return true;
            }
            let is_path = target.contains('/');
            let near = if is_path {
                self.near_credential(target, reader)
            } else {
                let admins = self.admins.iter().map(String::as_str);
                reader.nearest.find(target, admins).map(str::to_owned)
            };
            let what = if is_path { "credential" } else { "admin" };
            reader.wrong(entry, span, &unknown(key, what, target), &did_you_mean(near));
            false
        };
        let spans = &it.spans;
        it.admin.retain(|name, target| stays(&admin_key(name), target, spans));
        it.client = it.client.take().filter(|target| stays("client", target, spans));
        it.control = it.control.take().filter(|target| stays("control", target, spans));
    }

    fn roles(&self) -> impl Iterator<Item = &str> {
        self.by_role.keys().map(String::as_str)
    }

    /// The nearest `ROLE/NAME`: first the role, then the name in it, so that no slip is compared
    /// with every credential there is.
    fn near_credential(&self, target: &str, reader: &mut Reader<'_>) -> Option<String> {
        let (role, name) = target.split_once('/')?;
        let role = match self.by_role.get_key_value(role) {
            Some((role, _)) => role,
            None => reader.nearest.find(role, self.roles())?,
        };
        let names = self.by_role.get(role)?.iter().map(String::as_str);
        Some(format!("{role}/{}", reader.nearest.find(name, names)?))
    }
}

fn of_role(target: &str) -> &str {
    target.split('/').next().unwrap_or_default()
}

fn did_you_mean(near: Option<String>) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add it, or name one that exists".to_owned(),
    }
}

fn unknown(key: &str, what: &str, target: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if target.chars().all(plain) {
        return format!("`{key}` names an unknown {what}, `{target}`");
    }
    format!("`{key}` names an unknown {what}")
}

fn admin_key(name: &str) -> String {
    if name.is_empty() { "admin".to_owned() } else { format!("admin.{name}") }
}

/// Which credential must act before another can be ended or made: its admins and its client. A
/// circle is cut where it closes.
fn break_circles(inventory: &mut Inventory, reader: &mut Reader<'_>) {
    let mut closing = Graph::of(inventory).closing();
    if closing.is_empty() {
        return;
    }
    for (id, credential) in credentials_mut(inventory) {
        for (key, circle) in closing.remove(&id).unwrap_or_default() {
            let span = credential.spans.get(&key).cloned().unwrap_or_default();
            match key.strip_prefix("admin") {
                Some(name) => {
                    credential.admin.remove(name.trim_start_matches('.'));
                }
                None => credential.client = None,
            }
            let entry = Entry { role: id.0.as_deref(), credential: Some(&id.1) };
            let hint = "name an admin or client outside of the circle";
            reader.wrong(entry, span, &format!("needs itself to be rotated: {circle}"), hint);
        }
    }
}

/// Credentials by number, and what each needs.
struct Graph {
    ids: Vec<Id>,
    needs: Vec<Vec<(String, usize)>>,
}

impl Graph {
    fn of(inventory: &Inventory) -> Self {
        let id = |role: Option<&str>, it: &Credential| (role.map(str::to_owned), it.name.clone());
        let all: Vec<(Id, &Credential)> =
            inventory.credentials().map(|(role, it)| (id(role, it), it)).collect();
        let by_name: BTreeMap<String, usize> =
            all.iter().enumerate().map(|(number, (id, _))| (target(id), number)).collect();
        let needs = |it: &Credential| {
            let admins = it.admin.iter().map(|(name, target)| (admin_key(name), target));
            let client = it.client.iter().map(|target| ("client".to_owned(), target));
            admins
                .chain(client)
                .filter_map(|(key, target)| Some((key, *by_name.get(target)?)))
                .collect()
        };
        let needs = all.iter().map(|(_, it)| needs(it)).collect();
        Self { ids: all.into_iter().map(|(id, _)| id).collect(), needs }
    }

    /// The edges that close a circle, by the credential they begin at: the key, and the circle as
    /// people follow it. Depth first, on a stack of its own: a chain may be as long as the
    /// inventory.
    fn closing(&self) -> BTreeMap<Id, Vec<(String, String)>> {
        let mut done = vec![false; self.ids.len()];
        let mut on_path = vec![false; self.ids.len()];
        let mut closing: BTreeMap<Id, Vec<(String, String)>> = BTreeMap::new();
        for root in 0..self.ids.len() {
            // Each with how many of its needs were followed.
            let mut path = vec![(root, 0)];
            while let Some((at, followed)) = path.pop() {
                if done.get(at) == Some(&true) {
                    continue;
                }
                set(&mut on_path, at, true);
                let Some((key, next)) = self.needs.get(at).and_then(|needs| needs.get(followed))
                else {
                    set(&mut on_path, at, false);
                    set(&mut done, at, true);
                    continue;
                };
                path.push((at, followed + 1));
                if on_path.get(*next) == Some(&true) {
                    if let Some(id) = self.ids.get(at) {
                        let circle = (key.clone(), self.circle(&path, *next));
                        closing.entry(id.clone()).or_default().push(circle);
                    }
                } else if done.get(*next) == Some(&false) {
                    path.push((*next, 0));
                }
            }
        }
        closing
    }

    /// `a -> b -> a`, from the path that closes at `first`.
    fn circle(&self, path: &[(usize, usize)], first: usize) -> String {
        let name = |at: usize| self.ids.get(at).map(target).unwrap_or_default();
        let mut names = vec![name(first)];
        for (at, _) in path.iter().rev() {
            names.push(name(*at));
            if *at == first {
                break;
            }
            // Eight: a longer circle does not fit on a line, and its end tells enough.
            if names.len() == 8 {
                names.push("...".to_owned());
                break;
            }
        }
        names.reverse();
        names.join(" -> ")
    }
}

fn set(flags: &mut [bool], at: usize, value: bool) {
    if let Some(flag) = flags.get_mut(at) {
        *flag = value;
    }
}

fn target((role, name): &Id) -> String {
    role.as_ref().map_or_else(|| name.clone(), |role| format!("{role}/{name}"))
}
