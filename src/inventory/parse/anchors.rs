//! Which entry a place in the text belongs to, for what stands in no value: comments and names.

use toml::de::DeTable;

use super::read::{Entry, Field, is_name};

/// Where each entry begins; it reaches as far as the next one.
pub(super) struct Anchors<'a>(Vec<(usize, Entry<'a>)>);

impl<'a> Anchors<'a> {
    pub(super) fn of(document: &'a DeTable<'_>) -> Self {
        let mut anchors = Self(Vec::new());
        for (name, role) in tables(document.get("role")) {
            let entry = Entry { role: Some(name).filter(|name| is_name(name)), credential: None };
            anchors.0.push((role.span().start, entry));
            for (key, value) in role.get_ref().as_table().into_iter().flatten() {
                if key.get_ref() != "credential" && value.get_ref().is_table() {
                    anchors.0.push((value.span().start, entry));
                }
            }
            let credentials = role.get_ref().get("credential").and_then(|c| c.get_ref().as_array());
            for credential in credentials.into_iter().flatten() {
                let name = credential.get_ref().get("name").and_then(|n| n.get_ref().as_str());
                let name = name.filter(|name| is_name(name));
                anchors.0.push((credential.span().start, Entry { credential: name, ..entry }));
            }
        }
        for (name, admin) in tables(document.get("admin")) {
            let entry = Entry { role: None, credential: Some(name).filter(|name| is_name(name)) };
            anchors.0.push((admin.span().start, entry));
        }
        for (_, provider) in tables(document.get("provider")) {
            anchors.0.push((provider.span().start, Entry::default()));
        }
        anchors.0.sort_by_key(|(start, _)| *start);
        anchors
    }

    pub(super) fn at(&self, offset: usize) -> Entry<'a> {
        let next = self.0.partition_point(|(start, _)| *start <= offset);
        self.0.get(next.wrapping_sub(1)).map(|(_, entry)| *entry).unwrap_or_default()
    }
}

fn tables<'a, 'i>(field: Option<&'a Field<'i>>) -> impl Iterator<Item = (&'a str, &'a Field<'i>)> {
    let table = field.and_then(|field| field.get_ref().as_table());
    table.into_iter().flatten().map(|(name, value)| (name.get_ref().as_ref(), value))
}
