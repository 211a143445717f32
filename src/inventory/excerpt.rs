//! Problems as people read them: message, place, excerpt, hint. What may be a secret is dots.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::leak;
use super::position::{LineIndex, floor};
use super::{Problem, SecretRef};

/// Fifty fill a screen or two; who has more mends these first.
const SHOWN: usize = 50;

/// Longer lines are cut around the place: more does not fit on a screen.
const WIDEST: usize = 200;

/// Each problem with its message, `file:line:column`, the line it stands in, and the hint; the
/// first fifty, and how many more there are. With `color`, styled for a terminal.
///
/// `text` is the inventory they were found in. Every secret of a known form in the excerpt, every
/// range that a problem masks, and, in a text that could not be read, every value of `secret` is
/// shown as dots of the same width.
pub fn render(problems: &[Problem], file_name: &str, text: &str, color: bool) -> String {
    let lines = LineIndex::new(text);
    let mut masks: Vec<Range<usize>> = leak::scan(text).into_iter().map(|leak| leak.span).collect();
    masks.extend(problems.iter().filter_map(|problem| problem.mask.clone()));
    masks.sort_by_key(|mask| mask.start);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut page = String::new();
    for problem in problems.iter().take(SHOWN) {
        let shown = Excerpt::of(problem, text, &lines, &masks);
        let snippet = Snippet::source(shown.source)
            .path(file_name)
            .line_start(problem.line)
            .annotation(AnnotationKind::Primary.span(shown.span));
        let mut group = Level::ERROR.primary_title(problem.to_string()).element(snippet);
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint));
        }
        page.push_str(&renderer.render(&[group]));
        page.push_str("\n\n");
    }
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "and {more} more in {file_name}");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The line of a problem, masked, and where in it the problem stands.
struct Excerpt {
    source: String,
    span: Range<usize>,
}

impl Excerpt {
    fn of(problem: &Problem, text: &str, lines: &LineIndex, masks: &[Range<usize>]) -> Self {
        let start = floor(text, problem.span.start);
        let line_at = lines.start(lines.line(start));
        let rest = text.get(line_at..).unwrap_or_default();
        let line = rest.get(..rest.find('\n').unwrap_or(rest.len())).unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let end = floor(text, problem.span.end).clamp(start, (line_at + line.len()).max(start));
        // A mask that begins earlier may reach into the line: a key of many lines.
        let first = masks.partition_point(|mask| mask.start < line_at + line.len());
        let of_line = masks.get(..first).unwrap_or_default();
        let reaching = of_line.iter().filter(|mask| mask.end > line_at);
        let mut hidden: Vec<Range<usize>> = reaching.cloned().collect();
        hidden.extend(unquoted(line).map(|it| line_at + it.start..line_at + it.end));
        let mut shown = Self { source: String::with_capacity(line.len()), span: 0..0 };
        for (offset, character) in line.char_indices() {
            let at = line_at + offset;
            if at == start {
                shown.span = shown.source.len()..shown.source.len();
            }
            let secret = hidden.iter().any(|mask| mask.contains(&at));
            shown.source.push(if secret { '•' } else { character });
            if (start..end).contains(&at) {
                shown.span.end = shown.source.len();
            }
        }
        if start >= line_at + line.len() {
            shown.span = shown.source.len()..shown.source.len();
        }
        shown
    }
}

/// The values of a line that assigns a `secret`, but for references: in a text that is no TOML
/// nobody can tell what is a value, and what was left unquoted is shown to nobody.
fn unquoted(line: &str) -> impl Iterator<Item = Range<usize>> {
    let value_at = line.find("secret").and_then(|key| Some(key + line.get(key..)?.find('=')? + 1));
    let value = value_at.and_then(|at| Some((at, line.get(at..)?)));
    value.into_iter().flat_map(|(at, value)| {
        let words = value.split(|c: char| c.is_whitespace() || "\"'{},[]=".contains(c));
        let base = value.as_ptr() as usize;
        words
            .filter(|word| !word.is_empty() && !SecretRef::is_meant(word) && !is_key(value, word))
            .map(move |word| {
                let from = at + (word.as_ptr() as usize - base);
                from..from + word.len()
            })
    })
}

/// Whether `=` follows the word: a part's name.
fn is_key(value: &str, word: &str) -> bool {
    let end = word.as_ptr() as usize - value.as_ptr() as usize + word.len();
    value.get(end..).is_some_and(|rest| rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {}
