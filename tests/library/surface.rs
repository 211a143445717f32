//! The public surface, held against a committed listing: a change of it is seen in review.
//!
//! After a change that is meant: `ROTATE_WRITE_DOCS=1 cargo test --test library surface`, and look
//! at the difference of `tests/library/surface.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::{Attribute, Fields, ImplItem, Item, ItemMod, Type, UseTree, Visibility};

/// Every module of the crate, by its path; `""` is the crate.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<String, Vec<Item>>,
    public: BTreeSet<String>,
}

#[test]
fn the_surface_is_the_listed_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Crate::default();
    found.read(&root.join("src/lib.rs"), &root.join("src"), "", true);
    let listing = found.listing();
    let path = root.join("tests/library/surface.txt");
    if std::env::var_os("ROTATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &listing).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let (kept, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (kept.lines().collect(), listing.lines().collect());
    let gone: Vec<_> = kept.difference(&now).collect();
    let new: Vec<_> = now.difference(&kept).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the public surface has changed\n\ngone: {gone:#?}\n\nnew: {new:#?}\n\nif that is meant: \
         ROTATE_WRITE_DOCS=1 cargo test --test library surface"
    );
}

impl Crate {
    /// Reads a file and what it declares; `folder` is where its modules lie.
    fn read(&mut self, file: &Path, folder: &Path, path: &str, public: bool) {
        let text = std::fs::read_to_string(file).unwrap();
        let items = syn::parse_file(&text).unwrap().items;
        for module in items.iter().filter_map(declared) {
            let name = module.ident.to_string();
            let inner = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
            let shown = public && is_public(&module.vis) && !hidden(&module.attrs);
            let below = folder.join(&name);
            let file = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
            let file: PathBuf = file.into_iter().find(|file| file.exists()).unwrap();
            self.read(&file, &below, &inner, shown);
        }
        if public {
            self.public.insert(path.to_owned());
        }
        self.modules.insert(path.to_owned(), items);
    }

    fn listing(&self) -> String {
        let (mut lines, mut types) = (BTreeSet::new(), BTreeSet::new());
        for path in &self.public {
            for item in &self.modules[path] {
                self.show(path, item, None, &mut lines, &mut types);
            }
        }
        for item in self.modules.values().flatten() {
            methods(item, &types, &mut lines);
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// Adds a public item of a public module; one that is brought there by `pub use` stands at the
    /// place where callers find it.
    fn show(
        &self,
        path: &str,
        item: &Item,
        renamed: Option<&str>,
        lines: &mut BTreeSet<String>,
        types: &mut BTreeSet<String>,
    ) {
        if let Item::Use(item) = item
            && is_public(&item.vis)
        {
            for (from, name) in leaves(&item.tree, String::new()) {
                let from = from.strip_prefix("self::").unwrap_or(&from).to_owned();
                let module = if path.is_empty() { from } else { format!("{path}::{from}") };
                let found = self.modules.get(&module).into_iter().flatten();
                for found in found.filter(|found| name_of(found).is_some_and(|it| it == name)) {
                    self.show(path, found, Some(&name), lines, types);
                }
            }
            return;
        }
        let Some(name) = name_of(item) else { return };
        let at = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
        if renamed.is_some() || !self.public.contains(&at) {
            types.insert(name);
            contents(&at, item, lines);
        }
    }
}

/// A module in a file of its own, outside tests.
fn declared(item: &Item) -> Option<&ItemMod> {
    let Item::Mod(module) = item else { return None };
    let of_tests = ["cfg(test)", "cfg(any(test, fuzzing))"];
    let is_test = |attribute| of_tests.iter().any(|cfg| text(attribute).contains(cfg));
    let test = module.attrs.iter().any(is_test);
    (module.content.is_none() && !test).then_some(module)
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| text(attribute).contains("doc(hidden)"))
}

/// The name of a public item that is no module and no import.
fn name_of(item: &Item) -> Option<String> {
    let (vis, ident) = match item {
        Item::Const(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Fn(item) => (&item.vis, &item.sig.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    is_public(vis).then(|| ident.to_string())
}

/// Module and name of everything that a `use` brings.
fn leaves(tree: &UseTree, path: String) -> Vec<(String, String)> {
    match tree {
        UseTree::Path(tree) => {
            let ident = tree.ident.to_string();
            let path = if path.is_empty() { ident } else { format!("{path}::{ident}") };
            leaves(&tree.tree, path)
        }
        UseTree::Name(tree) => vec![(path, tree.ident.to_string())],
        UseTree::Group(tree) => {
            tree.items.iter().flat_map(|tree| leaves(tree, path.clone())).collect()
        }
        UseTree::Rename(_) | UseTree::Glob(_) => panic!("say what is public: {}", text(tree)),
    }
}

/// The source of a piece of syntax, on one line.
fn text(piece: &impl Spanned) -> String {
    let source = piece.span().source_text().unwrap_or_default();
    let lines = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join(" ").replace("( ", "(").replace(", )", ")")
}

fn contents(at: &str, item: &Item, lines: &mut BTreeSet<String>) {
    let grows = |attributes: &[Attribute]| {
        let open = attributes.iter().any(|attribute| text(attribute).contains("non_exhaustive"));
        if open { " (grows)" } else { "" }
    };
    match item {
        Item::Const(item) => drop(lines.insert(format!("const {at}: {}", text(&item.ty)))),
        Item::Type(item) => drop(lines.insert(format!("type {at} = {}", text(&item.ty)))),
        Item::Fn(item) => drop(lines.insert(format!("fn {at}: {}", text(&item.sig)))),
        Item::Struct(item) => {
            lines.insert(format!("struct {at}{}", grows(&item.attrs)));
            for (number, field) in item.fields.iter().enumerate() {
                let name = field.ident.as_ref().map_or(number.to_string(), ToString::to_string);
                if is_public(&field.vis) {
                    lines.insert(format!("struct {at} .{name}: {}", text(&field.ty)));
                }
            }
        }
        Item::Enum(item) => {
            lines.insert(format!("enum {at}{}", grows(&item.attrs)));
            for variant in &item.variants {
                let fields = variant.fields.iter().map(|field| {
                    let name = field.ident.as_ref().map(|name| format!("{name}: "));
                    format!("{}{}", name.unwrap_or_default(), text(&field.ty))
                });
                let fields = fields.collect::<Vec<_>>().join(", ");
                let fields = match variant.fields {
                    Fields::Unit => String::new(),
                    Fields::Unnamed(_) => format!("({fields})"),
                    Fields::Named(_) => format!(" {{ {fields} }}"),
                };
                lines.insert(format!("enum {at} ::{}{fields}", variant.ident));
            }
        }
        Item::Trait(item) => {
            lines.insert(format!("trait {at}"));
            for item in &item.items {
                if let syn::TraitItem::Fn(method) = item {
                    let given = if method.default.is_some() { " (given)" } else { "" };
                    lines.insert(format!("trait {at} {}{given}", text(&method.sig)));
                }
            }
        }
        _ => {}
    }
}

/// The public methods of public types, wherever they are written.
fn methods(item: &Item, types: &BTreeSet<String>, lines: &mut BTreeSet<String>) {
    let Item::Impl(block) = item else { return };
    let Type::Path(of) = &*block.self_ty else { return };
    let Some(name) = of.path.segments.last().map(|segment| segment.ident.to_string()) else {
        return;
    };
    if block.trait_.is_some() || !types.contains(&name) {
        return;
    }
    for item in &block.items {
        match item {
            ImplItem::Fn(method) if is_public(&method.vis) => {
                lines.insert(format!("impl {name} {}", text(&method.sig)));
            }
            ImplItem::Const(it) if is_public(&it.vis) => {
                lines.insert(format!("impl {name} const {}: {}", it.ident, text(&it.ty)));
            }
            _ => {}
        }
    }
}
