//! What a file of `src` says, as far as a rule asks for it.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// One file, read.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    /// Its module, without the crate: `src/provider/http.rs` is `provider`, `http`.
    pub(crate) module: Vec<String>,
    /// It is compiled for tests alone.
    pub(crate) test: bool,
    pub(crate) text: String,
    pub(crate) paths: Vec<NamedPath>,
    pub(crate) functions: Vec<Function>,
    pub(crate) calls: Vec<MethodCall>,
    /// Line and name of every item.
    pub(crate) names: Vec<(usize, String)>,
    /// `mod name;`, and whether it stands under `#[cfg(test)]`.
    children: Vec<(String, bool)>,
}

/// A path in code or in a `use`, from the root of the crate or from outside.
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) test: bool,
    inside: bool,
    segments: Vec<String>,
}

pub(crate) struct Function {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) lines: usize,
}

/// A call without arguments.
pub(crate) struct MethodCall {
    pub(crate) line: usize,
    pub(crate) test: bool,
    /// The function it stands in.
    pub(crate) function: String,
    pub(crate) method: String,
}

pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that a `mod` leads to, from both roots.
pub(crate) fn reachable(root: &Path) -> Vec<Source> {
    let mut waiting = vec![("src/lib.rs".to_owned(), false), ("src/main.rs".to_owned(), false)];
    let mut sources = Vec::new();
    while let Some((path, test)) = waiting.pop() {
        let text = std::fs::read_to_string(root.join(&path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let source = Source::parse(&path, &text, test);
        let is_root = ["src/lib.rs", "src/main.rs"].contains(&path.as_str());
        let folder = match path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None if is_root => "src".to_owned(),
            None => path.trim_end_matches(".rs").to_owned(),
        };
        for (name, under_test) in &source.children {
            let flat = format!("{folder}/{name}.rs");
            let deep = format!("{folder}/{name}/mod.rs");
            let child = if root.join(&flat).exists() { flat } else { deep };
            waiting.push((child, test || *under_test));
        }
        sources.push(source);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str, test: bool) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let module: Vec<String> = inner
            .trim_end_matches("/mod")
            .split('/')
            .filter(|name| !["lib", "main"].contains(name))
            .map(str::to_owned)
            .collect();
        let mut walk = Walk {
            is_main: path == "src/main.rs",
            module: module.clone(),
            inline: 0,
            tests: usize::from(test),
            within: Vec::new(),
            source: Source {
                path: path.to_owned(),
                module,
                test,
                text: text.to_owned(),
                paths: Vec::new(),
                functions: Vec::new(),
                calls: Vec::new(),
                names: Vec::new(),
                children: Vec::new(),
            },
        };
        walk.visit_file(&file);
        walk.source
    }

    /// The module right under the crate; `lib` or `main` for the roots.
    pub(crate) fn top(&self) -> &str {
        match self.module.first() {
            Some(top) => top,
            None if self.path == "src/main.rs" => "main",
            None => "lib",
        }
    }
}

impl NamedPath {
    pub(crate) fn in_crate(&self) -> Option<&[String]> {
        self.inside.then_some(self.segments.as_slice())
    }

    pub(crate) fn outside(&self) -> Option<&[String]> {
        (!self.inside).then_some(self.segments.as_slice())
    }
}

/// `KeyManager` and `key_manager` are `key`, `manager`.
pub(crate) fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words
}

struct Walk {
    is_main: bool,
    module: Vec<String>,
    /// How many inline modules deep.
    inline: usize,
    /// How many test attributes deep.
    tests: usize,
    /// The functions around.
    within: Vec<String>,
    source: Source,
}

impl Walk {
    fn path(&mut self, line: usize, segments: &[String]) {
        let test = self.tests > 0;
        let absolute = match segments.first().map(String::as_str) {
            Some("crate") => Some(segments[1..].to_vec()),
            Some("rotate") if self.is_main => Some(segments[1..].to_vec()),
            Some("self" | "super") => {
                let mut base = self.module.clone();
                let mut rest = segments;
                while let [first, tail @ ..] = rest {
                    match first.as_str() {
                        "self" => {}
                        "super" => drop(base.pop()),
                        _ => break,
                    }
                    rest = tail;
                }
                base.extend_from_slice(rest);
                Some(base)
            }
            _ => None,
        };
        let inside = absolute.is_some();
        let segments = absolute.unwrap_or_else(|| segments.to_vec());
        self.source.paths.push(NamedPath { line, test, inside, segments });
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.path(line, &with(&name.ident)),
            syn::UseTree::Rename(name) => self.path(line, &with(&name.ident)),
            syn::UseTree::Glob(_) => self.path(line, before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.use_tree(tree, before));
            }
        }
    }

    fn call(&mut self, line: usize, method: String) {
        let function = self.within.last().cloned().unwrap_or_else(|| "-".to_owned());
        self.source.calls.push(MethodCall { line, test: self.tests > 0, function, method });
    }

    /// The inside of a macro is no syntax yet: paths and calls are found by their tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let flat = flatten(tokens);
        let text = |at: usize| flat.get(at).map_or("", |(text, _)| text.as_str());
        let is_name = |at: usize| text(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
        let mut at = 0;
        while at < flat.len() {
            let line = flat[at].1;
            if text(at) == "." && text(at + 2) == "(" && text(at + 3) == ")" {
                self.call(line, text(at + 1).to_owned());
            }
            if is_name(at) && text(at + 1) == ":" && text(at + 2) == ":" {
                let mut segments = vec![text(at).to_owned()];
                while text(at + 1) == ":" && text(at + 2) == ":" && is_name(at + 3) {
                    at += 3;
                    segments.push(text(at).to_owned());
                }
                self.path(line, &segments);
            }
            at += 1;
        }
    }

    fn function(
        &mut self,
        sig: &syn::Signature,
        whole: proc_macro2::Span,
        walk: impl Fn(&mut Self),
    ) {
        let (start, end) = (sig.span().start().line, whole.end().line);
        let name = sig.ident.to_string();
        self.source.names.push((start, name.clone()));
        let lines = end + 1 - start;
        self.source.functions.push(Function { line: start, name: name.clone(), lines });
        self.within.push(name);
        walk(self);
        self.within.pop();
    }

    fn name(&mut self, ident: &syn::Ident) {
        self.source.names.push((ident.span().start().line, ident.to_string()));
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = attributes(item);
        let tests = usize::from(attributes.iter().any(is_test));
        self.tests += tests;
        visit::visit_item(self, item);
        self.tests -= tests;
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.name(&item.ident);
        let name = item.ident.to_string();
        if item.content.is_none() {
            // One that stands in an inline module would lie in a folder of that name: unused here.
            assert_eq!(self.inline, 0, "{}: mod {name}; in an inline module", self.source.path);
            self.source.children.push((name.clone(), self.tests > 0));
        }
        self.inline += 1;
        self.module.push(name);
        visit::visit_item_mod(self, item);
        self.module.pop();
        self.inline -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(path.span().start().line, &segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.args.is_empty() {
            self.call(call.method.span().start().line, call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, item.span(), |walk| visit::visit_item_fn(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let tests = usize::from(item.attrs.iter().any(is_test));
        self.tests += tests;
        self.function(&item.sig, item.span(), |walk| visit::visit_impl_item_fn(walk, item));
        self.tests -= tests;
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.span(), |walk| visit::visit_trait_item_fn(walk, item));
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        visit::visit_item_trait(self, item);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, `#[cfg(any(test, fuzzing))]`, `#[test]`, `#[tokio::test]`.
fn is_test(attribute: &syn::Attribute) -> bool {
    let path = attribute.path();
    let named_test = path.segments.last().is_some_and(|segment| segment.ident == "test");
    let of_tests = |list: &syn::MetaList| {
        let said = list.tokens.to_string().replace(' ', "");
        said == "test" || said == "any(test,fuzzing)"
    };
    let cfg_test = path.is_ident("cfg") && attribute.meta.require_list().is_ok_and(of_tests);
    named_test || cfg_test
}

fn flatten(tokens: TokenStream) -> Vec<(String, usize)> {
    let mut flat = Vec::new();
    for token in tokens {
        let line = token.span().start().line;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                flat.push((open.to_owned(), line));
                flat.extend(flatten(group.stream()));
                flat.push((close.to_owned(), group.span_close().start().line));
            }
            TokenTree::Literal(_) => flat.push((String::new(), line)),
            other => flat.push((other.to_string(), line)),
        }
    }
    flat
}
