//! Every provider file: one test each, none forgotten, no two shapes alike, and the manual page
//! made from them.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use rotate::provider::catalog::{BUILTIN, Catalog};
use rotate::provider::spec::{Spec, check, document};

/// Where the generated part of the manual begins.
const MARK: &str =
    "<!-- From here on this page is made from providers/*.toml by tests/providers.rs. -->\n";

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn spec(id: &str) -> Spec {
    let path = folder("providers").join(format!("{id}.toml"));
    let text = fs::read_to_string(&path).expect("the file is there");
    check(&text, &format!("providers/{id}.toml")).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors
            .iter()
            .map(|error| format!("{error}\n  hint: {}", error.hint.as_deref().unwrap_or("none")))
            .collect();
        panic!("{}", lines.join("\n"))
    })
}

/// Whether the file itself writes a verb; native drivers answer all of some files.
fn writes_calls(id: &str) -> bool {
    let catalog = Catalog::builtin().expect("every file is right");
    let (capabilities, _) = catalog.capabilities(&BTreeMap::new());
    capabilities.providers[id].kinds.values().any(|kind| !kind.verbs.is_empty())
}

/// One `#[test]` per file, and the list of them.
macro_rules! files {
    ($($test:ident = $id:literal),* $(,)?) => {
        const TESTED: &[&str] = &[$($id),*];
        $(
            #[test]
            fn $test() {
                let spec = spec($id);
                assert_eq!(spec.examples.is_empty(), !writes_calls($id), "recorded exchanges");
                for example in &spec.examples {
                    if let Err(mismatch) = example.replay(&spec) {
                        panic!("{mismatch}");
                    }
                }
            }
        )*
    };
}

files! {
    acme = "acme",
    anthropic = "anthropic",
    aws_iam = "aws-iam",
    cloudflare = "cloudflare",
    django = "django",
    github = "github",
    gitlab = "gitlab",
    google_oauth = "google-oauth",
    npm = "npm",
    oauth = "oauth",
    openai = "openai",
    openrouter = "openrouter",
    redis = "redis",
    slack = "slack",
    web_session = "web-session",
    wordpress = "wordpress",
}

#[test]
fn no_file_is_forgotten() {
    let entries = fs::read_dir(folder("providers")).expect("the folder is there");
    let on_disk: BTreeSet<String> = entries
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            assert_eq!(path.extension().and_then(|e| e.to_str()), Some("toml"), "{path:?}");
            path.file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    let embedded: BTreeSet<String> = BUILTIN.iter().map(|(id, _)| (*id).to_owned()).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(on_disk, embedded, "providers/ and the list in src/provider/catalog.rs differ");
    assert_eq!(on_disk, tested, "providers/ and the list in tests/providers.rs differ");
}

#[test]
fn every_built_in_file_is_right() {
    let catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(catalog.specs().count(), BUILTIN.len());
}

#[test]
fn no_shape_is_taken_for_another() {
    let catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    for spec in catalog.specs() {
        assert_eq!(catalog.overlaps(spec), [], "{}", spec.id);
    }
}

#[test]
fn a_value_of_known_shape_is_identified() {
    let catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    let acme = format!("acme_{}", "a".repeat(32));
    assert_eq!(catalog.identify(&acme), [("acme", "api-key")]);
    assert_eq!(catalog.identify("sk-proj-abcT3BlbkFJdef"), [("openai", "project-key")]);
    assert_eq!(catalog.identify("d41d8cd98f00b204e9800998ecf8427e"), []);
    let line = format!("K={acme}&x=sk-proj-abcT3BlbkFJdef, {acme}x");
    let found: Vec<_> = catalog
        .find(&line)
        .into_iter()
        .map(|(span, provider, kind)| (&line[span], provider, kind))
        .collect();
    let proj = ("sk-proj-abcT3BlbkFJdef", "openai", "project-key");
    assert_eq!(found, [(acme.as_str(), "acme", "api-key"), proj]);
}

#[test]
fn another_file_of_a_known_id_says_that_it_replaces_it() {
    let text = BUILTIN.iter().find(|(id, _)| *id == "acme").expect("built in").1;
    let mut catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    let errors = catalog.add(text, "acme.toml").expect_err("not unasked");
    assert_eq!(errors[0].message, "`acme` is known already");
    let asked = format!("replaces = \"acme\"\n{text}");
    catalog.add(&asked, "acme.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let copy = text.replace("id      = \"acme\"", "id      = \"copy\"");
    catalog.add(&copy, "copy.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert!(catalog.warnings().iter().any(|warning| warning.message.contains("overlaps `acme`")));
}

#[test]
fn a_folder_of_files_is_added_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = BUILTIN.iter().find(|(id, _)| *id == "acme").expect("built in").1;
    let renamed = text.replace("id      = \"acme\"", "id      = \"mine\"").replace("acme", "mine");
    fs::write(folder.path().join("mine.toml"), &renamed).expect("written");
    let mut catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    catalog.add_folder(folder.path()).expect("right");
    assert!(catalog.specs().any(|spec| spec.id == "mine"));
    fs::write(folder.path().join("bad.toml"), "id = 1\n").expect("written");
    let mut catalog = Catalog::builtin().unwrap_or_else(|errors| panic!("{errors:#?}"));
    let error = catalog.add_folder(folder.path()).expect_err("wrong");
    assert!(error.to_string().contains("errors in provider files"), "{error}");
    assert!(!catalog.specs().any(|spec| spec.id == "mine"));
}

#[test]
fn the_manual_is_made_from_the_files() {
    let path = folder("docs/providers.md");
    let manual = fs::read_to_string(&path).expect("the manual is there");
    let (written, generated) = manual.split_once(MARK).expect("the mark stands in the manual");
    let pages: Vec<String> = TESTED.iter().map(|id| document(&spec(id))).collect();
    let expected = format!("\n{}", pages.join("\n"));
    if std::env::var_os("ROTATE_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{written}{MARK}{expected}")).expect("written");
        return;
    }
    assert!(
        generated == expected,
        "docs/providers.md is behind the files; \
         run ROTATE_WRITE_DOCS=1 cargo test --test providers the_manual"
    );
}
