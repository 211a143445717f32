//! `rotate providers`: what is known of each provider, and whether a file of your own is right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{Format, Output};
use super::failure::Failure;
use super::{prepare, provider_page, run, table};
use crate::engine::capability::ProviderCapability;
use crate::inventory::{self, Problem};
use crate::provider::catalog::Catalog;
use crate::provider::spec::{self, SpecError};

/// List the providers, show what one of them can do, or check a file of your own
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Providers {
    #[command(subcommand)]
    command: Option<Command>,
    /// The page of this provider: what can be done, by whom, how sure it is, and by hand
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// More provider files; naming one like a built-in replaces it
    #[arg(long, value_name = "DIR")]
    providers: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Read a provider file, hold it against every rule and replay its recorded exchanges
    Check(Check),
}

#[derive(Args, Clone, Debug)]
struct Check {
    /// The file; its name is its id and `.toml`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Line {
    id: String,
    name: String,
    /// Level by kind.
    kinds: BTreeMap<String, String>,
    /// The day its lines were last held against the vendor's documents.
    checked: String,
    /// Empty where the inventory says.
    hosts: Vec<String>,
    docs: String,
}

impl Providers {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if let Some(Command::Check(check)) = self.command {
            return check.run();
        }
        let (catalog, _) = prepare::catalog(self.providers.as_deref(), None)?;
        let (capabilities, _) = catalog.capabilities(&BTreeMap::new());
        let format = self.output.format;
        match self.id {
            None => all(&catalog, &capabilities.providers, format),
            Some(id) => one(&catalog, &capabilities.providers, &id, format),
        }
    }

    pub(crate) fn output(&self) -> Output {
        match &self.command {
            Some(Command::Check(check)) => check.output,
            None => self.output,
        }
    }
}

fn all(
    catalog: &Catalog,
    known: &BTreeMap<String, ProviderCapability>,
    format: Format,
) -> Result<ExitCode, Failure> {
    let line = |spec: &spec::Spec| {
        let can = known.get(&spec.id)?;
        let kinds = can.kinds.iter().map(|(name, kind)| (name.clone(), kind.level.clone()));
        Some(Line {
            id: spec.id.clone(),
            name: spec.name.clone(),
            kinds: kinds.collect(),
            checked: spec.checked.clone(),
            hosts: can.hosts.clone(),
            docs: spec.docs.clone(),
        })
    };
    let lines: Vec<Line> = catalog.specs().filter_map(line).collect();
    if format == Format::Json {
        return Ok(run::shown(&run::json(&lines)?));
    }
    let mut rows = Vec::new();
    for line in &lines {
        let hosts = match line.hosts.as_slice() {
            [] => "the inventory says".to_owned(),
            hosts => hosts.join(", "),
        };
        let mut first = [line.id.clone(), line.checked.clone(), hosts].map(Some);
        for (kind, level) in &line.kinds {
            let [id, checked, hosts] = first.each_mut().map(|it| it.take().unwrap_or_default());
            rows.push(vec![id, kind.clone(), level.clone(), checked, hosts]);
        }
    }
    let head = ["PROVIDER", "KIND", "LEVEL", "CHECKED", "HOSTS"];
    Ok(run::shown(&table::of(format, &head, &rows)))
}

fn one(
    catalog: &Catalog,
    known: &BTreeMap<String, ProviderCapability>,
    id: &str,
    format: Format,
) -> Result<ExitCode, Failure> {
    let spec = catalog.specs().find(|spec| spec.id == id);
    let Some((spec, can)) = spec.zip(known.get(id)) else {
        return Err(unknown(known.keys().map(String::as_str), id));
    };
    let text = match format {
        Format::Json => run::json(can)?,
        Format::Markdown => spec::document(spec),
        Format::Human => provider_page::page(spec, can),
    };
    Ok(run::shown(&text))
}

/// What stands where an id belongs may be a secret pasted by mistake: only what looks like one is
/// repeated.
fn unknown<'a>(known: impl Iterator<Item = &'a str>, id: &str) -> Failure {
    let looks_like_one = id.len() <= 40
        && id.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        && id.contains(|c: char| c.is_ascii_lowercase());
    let what = if looks_like_one { format!("provider {id}") } else { "such provider".to_owned() };
    let near = inventory::nearest(id, known).filter(|_| looks_like_one);
    let failure = Failure::input(format!("there is no {what}"));
    match near {
        Some(near) => failure.hint(format!("did you mean {near}? list them: rotate providers")),
        None => failure.hint("list them: rotate providers; add yours: --providers DIR"),
    }
}

/// What a check found, for programs.
#[derive(Clone, Debug, Default, Serialize)]
struct Checked {
    file: String,
    /// Nothing is wrong with it.
    ok: bool,
    /// How many recorded exchanges were replayed.
    exchanges: usize,
    problems: Vec<Wrong>,
    warnings: Vec<String>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, Serialize)]
struct Wrong {
    line: usize,
    column: usize,
    message: String,
    hint: Option<String>,
}

impl Check {
    fn run(self) -> Result<ExitCode, Failure> {
        let file = &self.file;
        let shown = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|error| {
            Failure::input(format!("{shown} cannot be read: {error}"))
                .hint("name a provider file: rotate providers check FILE")
        })?;
        let text = match inventory::decode(bytes) {
            Ok(text) => text,
            Err(it) => return self.wrong(&[it.problem], &it.before),
        };
        let name = file.file_name().map_or(Path::new(&shown), Path::new).display().to_string();
        let spec = match spec::check(&text, &name) {
            Ok(spec) => spec,
            Err(errors) => {
                return self.wrong(&errors.into_iter().map(problem).collect::<Vec<_>>(), &text);
            }
        };
        let catalog = Catalog::builtin()
            .map_err(|errors| Failure::own(format!("{} built-in provider errors", errors.len())))?;
        let overlaps = catalog.overlaps(&spec).into_iter();
        let warnings: Vec<String> = overlaps
            .map(|(other, kind)| format!("a shape of this file overlaps {other} {kind}"))
            .collect();
        let exchanges = spec.examples.len();
        if self.output.format == Format::Json {
            let it = Checked { file: shown, ok: true, exchanges, warnings, ..Checked::default() };
            return Ok(run::shown(&run::json(&it)?));
        }
        let mut page = format!("{shown} is right: {exchanges} exchanges replayed\n");
        for warning in warnings {
            page.push_str(&format!("warning: {warning}\n"));
        }
        Ok(run::shown(&page))
    }

    /// Tells what is wrong with it; `text` is what excerpts are taken from.
    fn wrong(&self, problems: &[Problem], text: &str) -> Result<ExitCode, Failure> {
        let shown = self.file.display().to_string();
        if self.output.format != Format::Json {
            return Err(Failure::input(inventory::render(problems, &shown, text, false))
                .hint("docs/providers.md says what each key means"));
        }
        let wrong = |it: &Problem| Wrong {
            line: it.line,
            column: it.column,
            message: it.message.clone(),
            hint: it.hint.clone(),
        };
        let problems = problems.iter().map(wrong).collect();
        let it = Checked { file: shown, problems, ..Checked::default() };
        Ok(run::wrong(&run::json(&it)?))
    }
}

fn problem(error: SpecError) -> Problem {
    let SpecError { span, line, column, message, hint, .. } = error;
    Problem { line, column, ..Problem::at(span, message).hint(hint) }
}
