//! Text to types. Four passes, each linear: find secrets and overwrite them, read the TOML, read
//! the entries, resolve what they name.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::leak::{self, Leak};
use super::position::{LineIndex, locate};
use super::{Inventory, Problem, Problems};

mod anchors;
mod command;
mod credential;
mod provider;
mod read;
mod resolve;
mod role;
mod unread;

use anchors::Anchors;
use read::{Entry, Reader};
use unread::hidden;
pub(crate) use unread::{NoText, decode};

impl Inventory {
    /// Reads an inventory. What is wrong with single entries stands in [`Inventory::problems`], in
    /// order of appearance, and in the entries' own marks.
    ///
    /// # Errors
    /// [`Problems`] if the text is no TOML; every place where it is none.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let lines = LineIndex::new(text);
        let leaks = leak::scan(text);
        // Overwritten before anything is parsed: no type, message or `Debug` can hold what is not
        // there. Lengths stay, so offsets do.
        let clean = overwrite(text, &leaks);
        let (document, errors) = DeTable::parse_recoverable(&clean);
        let document = document.into_inner();
        let (twice, broken): (Vec<_>, Vec<_>) =
            errors.iter().partition(|error| error.message() == DUPLICATE);
        if !broken.is_empty() {
            let mut problems = broken.into_iter().map(syntax).collect::<Vec<_>>();
            problems.extend(leaks.iter().map(|leak| leaked(leak, Entry::default())));
            for problem in &mut problems {
                let line = hidden(text, &lines, problem.span.start);
                problem.mask = Some(match &problem.mask {
                    Some(leak) => line.start.min(leak.start)..line.end.max(leak.end),
                    None => line,
                });
            }
            locate(&mut problems, text, &lines);
            return Err(Problems(problems));
        }
        let anchors = Anchors::of(&document);
        let mut reader = Reader::new(&leaks, &lines);
        for error in twice {
            let problem = defined_twice(error, &anchors, &clean);
            // Of two values one is read: nobody knows what the other one is.
            let line = hidden(text, &lines, problem.span.start);
            reader.push(problem.masking(line));
        }
        let mut inventory = Self { sha256: sha256(text), ..Self::default() };
        reader.document(&document, &mut inventory);
        for leak in reader.unreported() {
            reader.push(leaked(leak, anchors.at(leak.span.start)));
        }
        resolve::resolve(&mut inventory, &mut reader);
        inventory.problems = reader.problems;
        let because = "its address cannot be used";
        inventory.drop_providers(&reader.no_address, because);
        locate(&mut inventory.problems, text, &lines);
        Ok(inventory)
    }
}

/// What an inventory consists of.
const TABLES: [&str; 4] = ["role", "admin", "provider", "cmd"];

/// The parser's words for a name given twice, the one error after which the rest still stands: the
/// first value counts, tables are joined.
const DUPLICATE: &str = "duplicate key";

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>, inventory: &mut Inventory) {
        self.known_keys(Entry::default(), document, &TABLES, "an inventory");
        for (name, table) in self.tables(document, "cmd") {
            self.store_command(name, table, inventory);
        }
        for (name, table) in self.tables(document, "provider") {
            self.provider(name, table, inventory);
        }
        for (name, table) in self.tables(document, "admin") {
            self.admin(name, table, inventory);
        }
        for (name, table) in self.tables(document, "role") {
            self.role(name, table, inventory);
        }
    }
}

/// The text with every leak as asterisks, byte for byte, line breaks kept.
fn overwrite<'a>(text: &'a str, leaks: &[Leak]) -> Cow<'a, str> {
    if leaks.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    for Leak { span, .. } in leaks {
        clean.push_str(text.get(from..span.start).unwrap_or_default());
        for byte in text.as_bytes().get(span.clone()).unwrap_or_default() {
            clean.push(if matches!(byte, b'\n' | b'\r') { char::from(*byte) } else { '*' });
        }
        from = span.end;
    }
    clean.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(clean)
}

fn syntax(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    Problem::at(span, error.message().to_owned())
        .hint("mend the TOML: until then nothing in this file can be used".to_owned())
}

fn defined_twice(error: &toml::de::Error, anchors: &Anchors<'_>, text: &str) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let Entry { role, credential } = anchors.at(span.start);
    let message = match text.get(span.clone()).filter(|key| read::is_name(key)) {
        Some(key) => format!("`{key}` is given twice"),
        None => "a key is given twice".to_owned(),
    };
    Problem::at(span, message)
        .of(role, credential)
        .hint("keep one of them: the first value counts, tables are joined".to_owned())
}

fn leaked(leak: &Leak, entry: Entry<'_>) -> Problem {
    Problem::at(leak.span.clone(), format!("a secret is written here: {}", leak.form))
        .of(entry.role, entry.credential)
        .hint(read::BURNED.to_owned())
        .masking(leak.span.clone())
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
