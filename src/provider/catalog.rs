//! The catalog: every provider file known to this run, and what the inventory says of each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use url::Url;

use super::http::{Live, Now, SpecProvider};
use super::spec::{self, Base, Spec, SpecError, capability, did_you_mean, rate};
use super::{Driver, Provider, SharedClients};
use crate::engine::capability::{Capabilities, ProviderCapability};
use crate::engine::check;
use crate::inventory::{self, Inventory, Problem, ProviderAt};

/// One line per file in `providers/`; a test holds this list against the folder.
macro_rules! builtin {
    ($($id:literal),* $(,)?) => {
        &[$(($id, include_str!(concat!("../../providers/", $id, ".toml")))),*]
    };
}

/// The files that are part of the binary: id and text.
pub const BUILTIN: &[(&str, &str)] = builtin![
    "acme",
    "anthropic",
    "aws-iam",
    "cloudflare",
    "django",
    "github",
    "gitlab",
    "google-oauth",
    "npm",
    "oauth",
    "openai",
    "openrouter",
    "redis",
    "slack",
    "web-session",
    "wordpress",
];

/// Every provider known to this run.
#[derive(Clone, Default)]
pub struct Catalog {
    specs: BTreeMap<String, Arc<Spec>>,
    drivers: BTreeMap<String, Arc<dyn Driver>>,
    own: BTreeMap<String, Arc<dyn Provider>>,
    /// Where the id of each added file stands.
    added: Vec<(Arc<Spec>, SpecError)>,
}

/// Something in `[provider.*]` that its file does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderProblem {
    /// The id in the inventory.
    pub id: String,
    /// Where it stands in the inventory's text.
    pub span: Range<usize>,
    /// Lower-case fragment.
    pub message: String,
    /// An imperative: what to do.
    pub hint: Option<String>,
}

/// A folder of provider files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder, or a file in it, cannot be read.
    #[error("{path}: the provider file cannot be read")]
    Unreadable {
        /// What could not be read.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Files are wrong; all errors of all of them.
    #[error("{} errors in provider files", .0.len())]
    Wrong(Vec<SpecError>),
}

impl Catalog {
    /// The files that are part of the binary.
    ///
    /// # Errors
    /// What is wrong with them; a test sees to it that nothing is.
    pub fn builtin() -> Result<Self, Vec<SpecError>> {
        // A command plans with one and carries out with another; both are these same texts.
        static READ: OnceLock<Catalog> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read.clone());
        }
        Self::read_builtin().map(|catalog| READ.get_or_init(|| catalog).clone())
    }

    fn read_builtin() -> Result<Self, Vec<SpecError>> {
        let mut catalog = Self::default();
        let mut wrong = Vec::new();
        for (id, text) in BUILTIN {
            match spec::check(text, &format!("{id}.toml")) {
                Ok(spec) => drop(catalog.specs.insert(spec.id.clone(), Arc::new(spec))),
                Err(errors) => wrong.extend(errors),
            }
        }
        if wrong.is_empty() { Ok(catalog) } else { Err(wrong) }
    }

    /// Adds every `*.toml` of a folder.
    ///
    /// # Errors
    /// [`FolderError`]; nothing is added then.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), FolderError> {
        let unreadable = |path: &Path, error| FolderError::Unreadable {
            path: path.display().to_string(),
            error,
        };
        let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut after = self.clone();
        let mut wrong = Vec::new();
        for path in paths {
            let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
            let name = path.display().to_string();
            let added = match inventory::decode(bytes) {
                Ok(text) => after.add(&text, &name),
                Err(no_text) => Err(vec![spec::no_text(*no_text, &name)]),
            };
            wrong.extend(added.err().unwrap_or_default());
        }
        if !wrong.is_empty() {
            return Err(FolderError::Wrong(wrong));
        }
        *self = after;
        Ok(())
    }

    /// Adds one file. One that stands for a known id must say `replaces`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, text: &str, file_name: &str) -> Result<(), Vec<SpecError>> {
        let spec = spec::check(text, file_name)?;
        let at_id = |message: String, hint: &str| {
            let span = text.find("id").map_or(0..0, |at| at..at + 2);
            let line = text.get(..span.start).unwrap_or("").matches('\n').count() + 1;
            let hint = Some(hint.to_owned());
            SpecError { file: file_name.into(), span, line, column: 1, message, hint }
        };
        let known = self.specs.contains_key(&spec.id) || self.own.contains_key(&spec.id);
        if known && spec.replaces.as_deref() != Some(&spec.id) {
            let message = format!("`{}` is known already", spec.id);
            let hint = format!("write `replaces = \"{}\"`, or give it another id", spec.id);
            return Err(vec![at_id(message, &hint)]);
        }
        if spec.replaces.is_some() && !known {
            let message = "it replaces a file that is not there".to_owned();
            return Err(vec![at_id(message, "drop `replaces`")]);
        }
        let spec = Arc::new(spec);
        let hint = "values of both shapes are not identified without being asked about";
        self.added.push((Arc::clone(&spec), at_id(String::new(), hint)));
        self.specs.insert(spec.id.clone(), spec);
        Ok(())
    }

    /// Registers native code under the name that kinds give as their `driver`.
    #[must_use]
    pub fn with_driver(mut self, name: &str, driver: Arc<dyn Driver>) -> Self {
        self.drivers.insert(name.into(), driver);
        self
    }

    /// Adds a caller's own provider under the id of its capability, over any file of that id.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<dyn Provider>) -> Self {
        self.own.insert(provider.capability().id.clone(), provider);
        self
    }

    /// What is odd about added files without being wrong. Found out when it is asked for: no
    /// revocation waits for it.
    pub fn warnings(&self) -> Vec<SpecError> {
        let overlaps = self.added.iter().flat_map(|(spec, at)| {
            self.overlaps(spec).into_iter().map(|(other, kind)| SpecError {
                message: format!("a shape of this file overlaps `{other}` `{kind}`"),
                ..at.clone()
            })
        });
        overlaps.collect()
    }

    /// The files, by id.
    pub fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.specs.values().map(|spec| &**spec)
    }

    /// Which kinds a value belongs to by its shape: provider and kind. More than one means that
    /// somebody has to be asked.
    pub fn identify(&self, value: &str) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for spec in self.specs.values() {
            found.extend(spec.identify(value).map(|kind| (spec.id.as_str(), kind)));
        }
        found
    }

    /// Every value of a known shape in a text: where it stands, and its provider and kind. One that
    /// stands within another is a part of it.
    pub fn find(&self, text: &str) -> Vec<(Range<usize>, &str, &str)> {
        // Some shapes allow a few characters, which stand in any text; 64 random bits need eleven
        // letters and digits behind the shortest prefix in use.
        const SHORTEST: usize = 16;
        let mut found = Vec::new();
        for spec in self.specs.values() {
            found.extend(spec.find(text).map(|(span, kind)| (span, spec.id.as_str(), kind)));
        }
        let all: Vec<Range<usize>> = found.iter().map(|(span, ..)| span.clone()).collect();
        let within = |span: &Range<usize>, other: &Range<usize>| {
            span != other && other.start <= span.start && span.end <= other.end
        };
        let long = |span: &Range<usize>| span.len() >= SHORTEST;
        found.retain(|(span, ..)| long(span) && !all.iter().any(|other| within(span, other)));
        found.sort_by_key(|(span, ..)| span.start);
        found
    }

    /// Kinds of other files that made-up values of this file's shapes would be taken for, or the
    /// other way round.
    pub fn overlaps(&self, spec: &Spec) -> Vec<(String, String)> {
        // Sixteen values of each shape: optional pieces and alternatives all come up.
        const SAMPLES: usize = 16;
        let mut found = Vec::new();
        for other in self.specs.values().filter(|other| other.id != spec.id) {
            for (mine, theirs) in [(spec, &**other), (&**other, spec)] {
                for sample in mine.samples(SAMPLES) {
                    for kind in theirs.identify(&sample) {
                        let hit = if theirs.id == spec.id { &mine.id } else { &theirs.id };
                        let entry = (hit.clone(), kind.to_owned());
                        if !found.contains(&entry) {
                            found.push(entry);
                        }
                    }
                }
            }
        }
        found
    }

    /// What everything can do, with the inventory's `[provider.*]` taken into account, and what is
    /// wrong with those.
    pub fn capabilities(
        &self,
        at: &BTreeMap<String, ProviderAt>,
    ) -> (Capabilities, Vec<ProviderProblem>) {
        let mut problems = Vec::new();
        let mut providers = BTreeMap::new();
        for (id, placed) in self.placed(at, &mut problems) {
            providers.insert(id, placed.capability);
        }
        for (id, own) in &self.own {
            providers.insert(id.clone(), own.capability().clone());
        }
        (Capabilities { providers }, problems)
    }

    /// Everything ready to be called. Bases named in the inventory replace those of the file, and
    /// with them the only hosts that a secret can reach.
    pub fn resolve(
        &self,
        at: &BTreeMap<String, ProviderAt>,
        clients: &SharedClients,
        now: Now,
    ) -> Resolved {
        let mut problems = Vec::new();
        let mut capabilities = Capabilities::default();
        let mut live = BTreeMap::new();
        for (id, placed) in self.placed(at, &mut problems) {
            capabilities.providers.insert(id.clone(), placed.capability.clone());
            let drivers = &self.drivers;
            let one = Live::new(placed.spec, placed.capability, placed.bases, drivers);
            live.insert(id, Arc::new(one));
        }
        let live = Arc::new(live);
        let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
        for one in live.values() {
            let id = one.capability.id.clone();
            let provider =
                SpecProvider::new(one.clone(), live.clone(), clients.clone(), now.clone());
            providers.insert(id, Arc::new(provider));
        }
        for (id, own) in &self.own {
            capabilities.providers.insert(id.clone(), own.capability().clone());
            providers.insert(id.clone(), own.clone());
        }
        Resolved { capabilities, problems, providers, catalog: self.clone() }
    }

    fn placed(
        &self,
        at: &BTreeMap<String, ProviderAt>,
        problems: &mut Vec<ProviderProblem>,
    ) -> BTreeMap<String, Placed> {
        let mut all: BTreeMap<String, Placed> =
            self.specs.iter().map(|(id, spec)| (id.clone(), self.as_written(spec))).collect();
        for (id, said) in at {
            let file = if said.file.is_empty() { id } else { &said.file };
            let Some(spec) = self.specs.get(file) else {
                let known = self.specs.keys().map(String::as_str);
                problems.push(ProviderProblem {
                    id: id.clone(),
                    span: said.span.clone(),
                    message: format!("provider {id}: there is no provider file `{file}`"),
                    hint: did_you_mean(file, known).or_else(|| {
                        Some("name one with `file`, or add it with --providers".into())
                    }),
                });
                continue;
            };
            let mut placed = self.as_written(spec);
            placed.capability.id.clone_from(id);
            placed.apply(said, problems);
            all.insert(id.clone(), placed);
        }
        all
    }

    fn as_written(&self, spec: &Arc<Spec>) -> Placed {
        let driver = |name: &str| self.drivers.get(name).map(|driver| &**driver);
        Placed { spec: spec.clone(), capability: capability(spec, &driver), bases: BTreeMap::new() }
    }
}

/// Where a value of known shape stands in a text, its provider and its kind.
pub type Shaped = (Range<usize>, String, String);

/// The providers of one run.
pub struct Resolved {
    /// What each can do.
    pub capabilities: Capabilities,
    /// What is wrong with the inventory's `[provider.*]`.
    pub problems: Vec<ProviderProblem>,
    providers: BTreeMap<String, Arc<dyn Provider>>,
    catalog: Catalog,
}

impl Resolved {
    /// Holds an inventory against what these providers can do: adds to
    /// [`Inventory::problems`] what only the providers can tell, each at its place in `text`, the
    /// one that was parsed, and fills in what may be left out.
    pub fn check(&self, inventory: &mut Inventory, text: &str) {
        let of_providers = self.problems.iter();
        inventory.problems.extend(of_providers.map(|problem| {
            Problem::of_provider(problem.span.clone(), &problem.message, problem.hint.clone())
        }));
        check::check(inventory, &self.capabilities, text);
    }

    /// What it was made of.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Finds every value of a known shape in a text, with provider and kind.
    pub fn identify(&self) -> impl Fn(&str) -> Vec<Shaped> + Send + Sync + use<> {
        let catalog = self.catalog.clone();
        let owned = |(span, id, kind): (Range<usize>, &str, &str)| (span, id.into(), kind.into());
        move |text: &str| catalog.find(text).into_iter().map(owned).collect()
    }

    /// Finds every value of a known shape in a line.
    pub fn shapes(&self) -> impl Fn(&str) -> Vec<Range<usize>> + Send + Sync + use<> {
        let catalog = self.catalog.clone();
        move |line: &str| catalog.find(line).into_iter().map(|(span, ..)| span).collect()
    }

    /// The provider of that id in this run.
    pub fn provider(&self, id: &str) -> Option<Arc<dyn Provider>> {
        self.providers.get(id).cloned()
    }
}

/// A file at its address.
struct Placed {
    spec: Arc<Spec>,
    capability: ProviderCapability,
    /// What the inventory says; these replace the file's.
    bases: BTreeMap<String, Url>,
}

impl Placed {
    fn apply(&mut self, said: &ProviderAt, problems: &mut Vec<ProviderProblem>) {
        let mut wrong = |message: String, hint: &str| {
            problems.push(ProviderProblem {
                id: said.id.clone(),
                span: said.span.clone(),
                message: format!("provider {}: {message}", said.id),
                hint: Some(hint.into()),
            });
        };
        for (name, written) in &said.base {
            if let Base::Fixed(known) = &self.spec.base
                && !known.contains_key(name)
            {
                wrong(format!("its file has no base `{name}`"), "use the names of its file");
                continue;
            }
            match self.address(written) {
                Ok(url) => drop(self.bases.insert(name.clone(), url)),
                Err((message, hint)) => wrong(format!("base `{name}`: {message}"), hint),
            }
        }
        let rule = |key: &str| said.limits.get(key).and_then(|value| rate(value.as_str()?));
        let limits = &mut self.capability.limits;
        limits.calls = rule("calls").or(limits.calls);
        limits.revoke = rule("revoke").or(limits.revoke);
        limits.refused = rule("refused").or(limits.refused);
        let in_flight = said.limits.get("in_flight").and_then(serde_json::Value::as_u64);
        if let Some(in_flight) = in_flight.and_then(|count| u32::try_from(count).ok()) {
            limits.in_flight = in_flight.max(1);
        }
        self.capability.base_missing = matches!(self.spec.base, Base::Inventory)
            && !self.spec.bases().iter().all(|name| self.bases.contains_key(*name));
        self.capability.hosts_from_inventory = !self.bases.is_empty();
        self.capability.hosts = self.hosts();
        self.prove(said);
    }

    fn prove(&mut self, said: &ProviderAt) {
        let proof = &said.proof;
        if *proof == crate::inventory::ProofAt::default() {
            return;
        }
        for kind in self.capability.kinds.values_mut() {
            let rule = &mut kind.proof;
            rule.refusals = proof.refusals.unwrap_or(rule.refusals);
            rule.hold_ms = proof.hold_ms.unwrap_or(rule.hold_ms);
            rule.give_up_ms = proof.give_up_ms.unwrap_or(rule.give_up_ms);
            rule.probes = proof.probes.unwrap_or(rule.probes);
            rule.assumed &= proof.hold_ms.is_none();
            rule.from_inventory = true;
        }
    }

    fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        if let Base::Fixed(known) = &self.spec.base {
            let kept = known.keys().filter(|name| !self.bases.contains_key(*name));
            hosts.extend(kept.flat_map(|name| self.spec.hosts_of(name)));
        }
        hosts.extend(self.bases.values().filter_map(host_of));
        hosts.sort();
        hosts.dedup();
        hosts
    }

    fn address(&self, written: &str) -> Result<Url, (&'static str, &'static str)> {
        let url = Url::parse(written).map_err(|_| ("this is no address", "write https://host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            let hint = "put the secret behind a reference and drop it from the address";
            return Err(("it holds a user or a password", hint));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(("it goes on behind its path", "end it with its path"));
        }
        // What native code speaks is not HTTP; it checks its own schemes.
        let native = self.spec.has_driver() && !matches!(url.scheme(), "http" | "https");
        if url.host().is_none() || !(native || safe_scheme(&url)) {
            let hint = "use https (http only to loopback)";
            return Err(("secrets would travel in the clear", hint));
        }
        Ok(url)
    }
}

fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether secrets may travel by this scheme: `https`, or `http` to loopback.
pub(crate) fn safe_scheme(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        ("http", Some(url::Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(url::Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}
