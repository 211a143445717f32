//! What the rest of a file may know of a kind before its verbs are read: parts, shapes, and who
//! may stand as its admin and client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::checksum::CHECKSUMS;
use super::marker::{Party, reserved};
use super::reader::{Node, Table, string};
use super::shape::Shape;
use super::verb::{VERBS, takes, written};
use crate::engine::call::Verb;
use crate::engine::capability::{KindRef, Part, PartType};

/// What the rest of the file may know of a kind before its verbs are read.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) parts: BTreeMap<String, PartOf>,
    pub(crate) shape: Option<Shape>,
    pub(crate) like: Option<Shape>,
    /// By name where a table is asked for, else under "".
    pub(crate) admin: BTreeMap<String, Vec<KindRef>>,
    pub(crate) client: Vec<KindRef>,
    pub(crate) driver: Option<String>,
    /// What `login` takes.
    pub(crate) login_takes: BTreeSet<String>,
    /// Public names that its verbs take.
    pub(crate) takes: BTreeSet<String>,
}

/// A part, and whether it comes out of a group of the shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartOf {
    pub(crate) part: Part,
    pub(crate) from_group: bool,
}

impl Head {
    /// Reads what others may need to know; the same table is read on by [`Kind::read`].
    pub(crate) fn read<'a>(
        name: &str,
        table: &Table<'a>,
        raw: &BTreeMap<&'a str, &'a DeTable<'a>>,
    ) -> Self {
        let shape = summed(table, shape(table, "shape", Shape::anchored));
        let like = shape_like(table);
        let mut parts = parts(table);
        for group in [&shape, &like].into_iter().flatten().flat_map(Shape::groups) {
            let part_type = if group == "handle" { PartType::Handle } else { PartType::Secret };
            let part = Part { part_type, optional: true };
            parts.entry(group).or_insert(PartOf { part, from_group: true });
        }
        for name in parts.keys().filter(|name| reserved(name)) {
            let message = format!("a part cannot be called `{name}`");
            table.errors.hinted(table.span.clone(), message, "it means something else in markers");
        }
        let taken = |verb| written(raw, name, verb).map(takes).unwrap_or_default();
        let secret = |taken: &String| {
            parts.get(taken).is_some_and(|part| part.part.part_type == PartType::Secret)
        };
        let verbs = VERBS.iter().filter(|(_, verb)| *verb != Verb::Login);
        Self {
            name: name.into(),
            admin: admins(table),
            client: table.strings("client").iter().map(|text| kind_ref(text.get_ref())).collect(),
            driver: table.string("driver").map(|text| (*text.get_ref()).into()),
            login_takes: taken("login"),
            takes: verbs.flat_map(|(verb, _)| taken(verb)).filter(|name| !secret(name)).collect(),
            shape,
            like,
            parts,
        }
    }

    /// The kinds of this file that may stand as `admin`, or as the one of that name. `None` where
    /// none may.
    pub(crate) fn known_admins<'h>(
        &self,
        heads: &'h BTreeMap<String, Arc<Head>>,
        named: Option<&str>,
    ) -> Option<Vec<&'h Head>> {
        let refs: Vec<&KindRef> = match named {
            None => self.admin.values().flatten().collect(),
            Some(named) => match self.admin.get(named) {
                Some(refs) => refs.iter().collect(),
                None => self.admin.get("")?.iter().filter(|r| r.kind == named).collect(),
            },
        };
        known(&refs, heads)
    }

    pub(crate) fn known_clients<'h>(
        &self,
        heads: &'h BTreeMap<String, Arc<Head>>,
    ) -> Option<Vec<&'h Head>> {
        known(&self.client.iter().collect::<Vec<_>>(), heads)
    }

    /// Whether some kind that may stand there is described in another file.
    pub(crate) fn foreign(&self, party: &Party) -> bool {
        match party {
            Party::Admin(_) => self.admin.values().flatten().any(|r| r.file.is_some()),
            Party::Client => self.client.iter().any(|r| r.file.is_some()),
            _ => false,
        }
    }

    pub(crate) fn admin_names(&self) -> impl Iterator<Item = &str> {
        let kinds = self.admin.values().flatten().map(|r| r.kind.as_str());
        self.admin.keys().map(String::as_str).filter(|name| !name.is_empty()).chain(kinds)
    }

    /// Parts that an issue has to bring: secret, demanded, and not read out of another one.
    pub(crate) fn brought(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|(name, part)| {
            let secret = part.part.part_type == PartType::Secret;
            (secret && !part.part.optional && !part.from_group).then_some(name.as_str())
        })
    }

    /// The part that is the provider's id of the credential.
    pub(crate) fn handle_part(&self) -> Option<&str> {
        let mut parts = self.parts.iter();
        let found = parts.find(|(_, part)| part.part.part_type == PartType::Handle);
        found.map(|(name, _)| name.as_str())
    }
}

fn known<'h>(refs: &[&KindRef], heads: &'h BTreeMap<String, Arc<Head>>) -> Option<Vec<&'h Head>> {
    if refs.is_empty() {
        return None;
    }
    Some(
        refs.iter()
            .filter(|r| r.file.is_none())
            .filter_map(|r| heads.get(&r.kind))
            .map(|head| &**head)
            .collect(),
    )
}

fn kind_ref(text: &str) -> KindRef {
    match text.split_once('/') {
        Some((file, kind)) => KindRef { file: Some(file.into()), kind: kind.into() },
        None => KindRef { file: None, kind: text.into() },
    }
}

/// One kind or a list of them; a table where verbs need different ones.
fn admins(table: &Table<'_>) -> BTreeMap<String, Vec<KindRef>> {
    let Some(node) = table.get("admin") else { return BTreeMap::new() };
    let refs = |key: &str, node| {
        let texts = super::reader::strings(key, node, table.errors);
        texts.iter().map(|text| kind_ref(text.get_ref())).collect::<Vec<_>>()
    };
    match node.get_ref() {
        DeValue::Table(_) => Table::of("admin", node, table.errors)
            .iter()
            .flat_map(Table::all)
            .map(|(name, _, node)| (name.to_owned(), refs(name, node)))
            .collect(),
        _ => BTreeMap::from([(String::new(), refs("admin", node))]),
    }
}

fn parts(table: &Table<'_>) -> BTreeMap<String, PartOf> {
    let Some(inner) = table.table("parts") else {
        let part = Part { part_type: PartType::Secret, optional: false };
        return BTreeMap::from([("secret".to_owned(), PartOf { part, from_group: false })]);
    };
    let words = [
        ("secret", (PartType::Secret, false)),
        ("public", (PartType::Public, false)),
        ("handle", (PartType::Handle, false)),
        ("secret?", (PartType::Secret, true)),
        ("public?", (PartType::Public, true)),
        ("handle?", (PartType::Handle, true)),
    ];
    let read = |(name, _, node): (&str, _, &Node<'_>)| {
        let text = string(name, node, table.errors)?;
        let (part_type, optional) = super::reader::word(name, &text, &words, table.errors)?;
        let part = Part { part_type, optional };
        Some((name.to_owned(), PartOf { part, from_group: false }))
    };
    inner.all().filter_map(read).collect()
}

fn shape(
    table: &Table<'_>,
    key: &'static str,
    read: fn(&str) -> Result<Shape, String>,
) -> Option<Shape> {
    let text = table.string(key)?;
    read(text.get_ref())
        .map_err(|wrong| table.errors.add(text.span(), format!("bad `{key}`: {wrong}"), None))
        .ok()
}

/// The shape with the checksum that its values carry.
fn summed(table: &Table<'_>, shape: Option<Shape>) -> Option<Shape> {
    let at = table.get("checksum").map(Node::span);
    let Some(checksum) = table.word("checksum", &CHECKSUMS) else { return shape };
    let read = shape
        .ok_or_else(|| "a `like` identifies nothing: a checksum belongs to a `shape`".to_owned())
        .and_then(|shape| shape.with_checksum(checksum));
    read.map_err(|wrong| table.errors.add(at.unwrap_or(0..0), wrong, None)).ok()
}

fn shape_like(table: &Table<'_>) -> Option<Shape> {
    shape(table, "like", Shape::whole)
}
