//! Problems as people read them: message, place, excerpt, hint. What may be a secret is dots.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::leak;
use super::position::{LineIndex, floor};
use super::{Problem, SecretRef};

/// Fifty fill a screen or two; who has more mends these first.
const SHOWN: usize = 50;

/// Bytes of a line shown before and behind the place: more does not fit on a screen, and a text may
/// be one line of forty megabytes.
const AROUND: usize = 120;

/// Each problem with its message, `file:line:column`, the line it stands in, and the hint; the
/// first fifty, and how many more there are. With `color`, styled for a terminal.
///
/// `text` is the inventory they were found in. Every secret of a known form in the excerpt, every
/// range that a problem masks (where the parser itself found fault, whatever may be a value), and
/// what stands unquoted behind `secret` is shown as dots of the same width.
pub fn render(problems: &[Problem], file_name: &str, text: &str, color: bool) -> String {
    let lines = LineIndex::new(text);
    let mut masks: Vec<Range<usize>> = leak::scan(text).into_iter().map(|leak| leak.span).collect();
    masks.extend(problems.iter().filter_map(|problem| problem.mask.clone()));
    masks.sort_by_key(|mask| (mask.start, mask.end));
    masks.dedup();
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut page = String::new();
    for problem in problems.iter().take(SHOWN) {
        let Excerpt { source, span, is_cut } = Excerpt::of(problem, text, &lines, &masks);
        let title = Level::ERROR.primary_title(problem.to_string());
        let primary = AnnotationKind::Primary.span(span);
        let snippet = Snippet::source(source).line_start(problem.line).annotation(primary);
        let mut group = if is_cut {
            // Counted in the piece, the column would be wrong.
            let at = Origin::path(file_name).line(problem.line).char_column(problem.column);
            title.element(at).element(snippet)
        } else {
            title.element(snippet.path(file_name))
        };
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
    /// The line begins before the excerpt.
    is_cut: bool,
}

impl Excerpt {
    fn of(problem: &Problem, text: &str, lines: &LineIndex, masks: &[Range<usize>]) -> Self {
        let place = floor(text, problem.span.start);
        let line = line_around(text, lines, place);
        let end = floor(text, problem.span.end).clamp(place, line.end.max(place));
        // A mask that begins earlier may reach into the line: a key of many lines.
        let overlaps = |mask: &&Range<usize>| mask.start < line.end && line.start < mask.end;
        let mut hidden: Vec<Range<usize>> = masks.iter().filter(overlaps).cloned().collect();
        let shown = text.get(line.clone()).unwrap_or_default();
        let words = unquoted(shown).into_iter();
        hidden.extend(words.map(|it| line.start + it.start..line.start + it.end));
        let is_cut = line.start > lines.start(lines.line(place));
        let mut it = Self { source: String::with_capacity(shown.len()), span: 0..0, is_cut };
        let mut span = None;
        for (offset, character) in shown.char_indices() {
            let at = line.start + offset;
            let from = it.source.len();
            let secret = hidden.iter().any(|mask| mask.contains(&at));
            it.source.push(match character {
                _ if secret => '•',
                // No terminal obeys what an inventory says; tabs are widened by the renderer.
                c if c.is_control() && c != '\t' => '\u{fffd}',
                c => c,
            });
            if at == place {
                span = Some(from..from);
            }
            if (place..end).contains(&at)
                && let Some(span) = &mut span
            {
                span.end = it.source.len();
            }
        }
        it.span = span.unwrap_or(it.source.len()..it.source.len());
        it
    }
}

/// The line that a place stands in, or as much of it as is shown.
fn line_around(text: &str, lines: &LineIndex, place: usize) -> Range<usize> {
    let start = lines.start(lines.line(place)).max(floor(text, place.saturating_sub(AROUND)));
    let most = floor(text, place.saturating_add(AROUND));
    let shown = text.get(start..most).unwrap_or_default();
    let length = shown.find('\n').unwrap_or(shown.len());
    let line = shown.get(..length).unwrap_or_default();
    start..start + line.strip_suffix('\r').unwrap_or(line).len()
}

/// The values of a line that assigns a `secret`, but for references: what was left unquoted there,
/// in a comment too, is shown to nobody.
fn unquoted(line: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let Some(value_at) = line.find("secret").and_then(|key| {
        let rest = line.get(key..)?;
        Some(key + rest.find('=')? + 1)
    }) else {
        return words;
    };
    let mut from = value_at;
    for (offset, character) in line.char_indices().filter(|(offset, _)| *offset >= value_at) {
        if character.is_whitespace() || "\"'{},[]=".contains(character) {
            words.push(from..offset);
            from = offset + character.len_utf8();
        }
    }
    words.push(from..line.len());
    words.retain(|word| {
        let (text, rest) = (line.get(word.clone()), line.get(word.end..));
        let part = rest.is_some_and(|rest| rest.trim_start().starts_with('='));
        text.is_some_and(|text| !text.is_empty() && !part && !SecretRef::is_meant(text))
    });
    words
}
