//! The report and the plan for a ticket, in Markdown. The same words as for people; whatever is not
//! a plain word stands in a code span, so that no label, handle or place can become a link, a
//! mention, a picture or a heading where it is pasted.

use std::fmt::Write as _;

use super::human::Page;
use super::outline;
use super::terminal::{Look, clean};
use super::words;
use crate::engine::outline::{Outline, Planned};
use crate::engine::report::{Report, Todo, Verdict};

/// The report.
pub(crate) fn page(report: &Report, look: &Look) -> String {
    let page = Page { report, look };
    let (title, facts) = first_line(&page.title());
    let mut text = format!("## {}\n\n{}", prose(&title), items(facts.lines()));
    text.push_str(&credentials(&page));
    section(&mut text, "Roles", &lines(&page.roles()));
    section(&mut text, "How fast", &lines(&page.speed()));
    section(&mut text, "What the old ones minted, and may still live", &page.residual());
    section(&mut text, "Unrecognised at the provider", &page.strangers());
    section(&mut text, "Issued by this run, bytes lost", &page.orphans());
    section(&mut text, "Dies too, outside this run", &page.collateral());
    section(&mut text, "Not in the inventory, burned and untouched", &page.unlisted());
    section(&mut text, "Other keys of the same files", &report.other_keys);
    section(&mut text, "Changed in the inventory since the last run", &report.inventory.changed);
    section(&mut text, "Warnings", &report.warnings);
    left(&mut text, &page.left());
    section(&mut text, "Result", &lines(&page.end()));
    text
}

/// The plan.
pub(crate) fn plan(plan: &Outline) -> String {
    let mut text = format!("## {}\n\n", prose(&outline::title(plan)));
    let facts = outline::facts(plan);
    let facts: Vec<String> = facts.iter().map(|(name, fact)| format!("{name}: {fact}")).collect();
    text.push_str(&items(facts.iter().map(String::as_str)));
    text.push_str(
        "\n| Credential | Provider | Kind | Level | Revoked by |\n|---|---|---|---|---|\n",
    );
    for one in &plan.credentials {
        let revoked_by = one.revoke.as_deref().unwrap_or("not revoked");
        let cells = [&one.id, &one.provider, &one.kind, &one.level].map(String::as_str);
        let cells = cells.into_iter().chain([revoked_by]).map(cell_of);
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    for one in &plan.credentials {
        steps(&mut text, one);
    }
    section(&mut text, "Left out", &outline::not_planned(plan).collect::<Vec<_>>());
    let unlisted: Vec<String> = plan.unlisted.iter().map(words::unlisted).collect();
    section(&mut text, "Not in the inventory", &unlisted);
    section(&mut text, "Warnings", &plan.warnings);
    text.push_str("\nNothing was touched.\n");
    text
}

fn steps(text: &mut String, one: &Planned) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n### {}\n", prose(&one.id));
    for (number, step) in (1..).zip(&one.steps) {
        let _ = writeln!(text, "{number}. {}", prose(step));
    }
    for warning in &one.warnings {
        let _ = writeln!(text, "- warning: {}", prose(warning));
    }
}

fn credentials(page: &Page<'_>) -> String {
    let rows: Vec<_> = page.report.credentials.iter().map(|one| (&one.id, page.row(one))).collect();
    if rows.is_empty() {
        return "\nno credential in this run\n".to_owned();
    }
    let head = "\n| Credential | Provider | Verdict | Old | New |\n|---|---|---|---|---|\n";
    let mut text = head.to_owned();
    for (_, row) in &rows {
        let mut cells = row.cells.each_ref().map(|cell| cell_of(cell));
        if row.verdict == Verdict::Alive {
            let [.., verdict, _, _] = &mut cells;
            *verdict = format!("**{verdict}**");
        }
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let notes: Vec<String> = rows
        .iter()
        .flat_map(|(id, row)| row.notes.iter().map(move |note| format!("{id}: {note}")))
        .collect();
    section(&mut text, "Notes", &notes);
    text
}

fn left(text: &mut String, all: &[(Option<String>, Todo)]) {
    if all.is_empty() {
        return;
    }
    text.push_str("\n### Left for a person\n\n");
    for (number, (id, todo)) in (1..).zip(all) {
        let whose = id.as_ref().map_or(String::new(), |id| format!("{id}: "));
        let at = todo.at.as_ref().map_or(String::new(), |at| format!(", at {at}"));
        let line = format!("{whose}{}; {}{at}", todo.what, todo.action);
        let _ = writeln!(text, "{number}. [ ] {}", prose(&line));
    }
}

fn section<T: AsRef<str>>(text: &mut String, heading: &str, all: &[T]) {
    if !all.is_empty() {
        let all = items(all.iter().map(AsRef::as_ref));
        let _ = write!(text, "\n### {heading}\n\n{all}");
    }
}

fn items<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.map(|line| format!("- {}\n", prose(line))).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn first_line(text: &str) -> (String, String) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    (first.to_owned(), rest.to_owned())
}

/// Plain words as they are, everything else in code spans, one for what stands together.
fn prose(text: &str) -> String {
    let text = clean(text);
    let mut said: Vec<String> = Vec::new();
    let mut together: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        if is_plain(word) {
            said.extend(spanned(&mut together, ""));
            said.push(word.to_owned());
            continue;
        }
        // The marks of a sentence stay outside.
        let bare = word.trim_end_matches([',', ';', ':']);
        let marks = word.get(bare.len()..).unwrap_or_default();
        together.push(if bare.is_empty() { word } else { bare });
        if !(bare.is_empty() || marks.is_empty()) {
            said.extend(spanned(&mut together, marks));
        }
    }
    said.extend(spanned(&mut together, ""));
    said.join(" ")
}

fn spanned(together: &mut Vec<&str>, marks: &str) -> Option<String> {
    let text = std::mem::take(together).join(" ");
    (!text.is_empty()).then(|| format!("{}{marks}", code(&text)))
}

/// The same for the cell of a table, where a bar would end it even inside a code span.
pub(super) fn cell_of(text: &str) -> String {
    prose(text).replace("\\|", "\u{fffd}|").replace('|', "\\|")
}

/// A word, a number, or one with the marks of a sentence around it: it means nothing to Markdown.
fn is_plain(word: &str) -> bool {
    let bare = word.trim_start_matches('(').trim_end_matches([',', ';', ':', '.', ')']);
    let said =
        bare.split('-').all(|part| !part.is_empty() && part.chars().all(char::is_alphabetic));
    let number = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit());
    // `1.` and `1)` begin a list.
    let list = number && word.ends_with(['.', ')']) && !word.starts_with('(');
    (said || number) && !list
}

/// Its fence is longer than any that stands inside.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::report::Unlisted;

    #[test]
    fn words_stay_words_and_everything_else_is_code() {
        for (text, wanted) in [
            (
                "still accepted; refused (403 AccessDenied)",
                "still accepted; refused (403 AccessDenied)",
            ),
            ("mail-agent/openai: key_a, dead", "`mail-agent/openai`: `key_a`, dead"),
            ("@security-team <img src=x>", "`@security-team <img src=x>`"),
            ("[a](https://evil.example)", "`[a](https://evil.example)`"),
            ("# 1. - *b* __c__ ~d~", "`# 1. - *b* __c__ ~d~`"),
            ("a`b and ``c``", "`` a`b `` and ``` ``c`` ```"),
            ("line\nbreak\u{1b}[2J", "`line\u{fffd}break\u{fffd}[2J`"),
            ("GH-12 or www.evil.example;", "`GH-12` or `www.evil.example`;"),
            (": , ;", "`: , ;`"),
        ] {
            assert_eq!(prose(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_plan_of_what_stdin_held_has_no_owner_and_no_inventory() {
        let unlisted = Unlisted {
            place: "dotenv:/srv/.env#KEY".to_owned(),
            provider: Some("acme".to_owned()),
            kind: None,
            fingerprint: "0123456789abcdef".to_owned(),
        };
        let page = plan(&Outline { unlisted: vec![unlisted], ..Outline::default() });
        insta::assert_snapshot!(page, @r"
        ## contain of what stdin held

        - hosts: none
        - collateral: none

        | Credential | Provider | Kind | Level | Revoked by |
        |---|---|---|---|---|

        ### Not in the inventory

        - `dotenv:/srv/.env#KEY` (acme, `#0123456789ab)`

        Nothing was touched.
        ");
    }

    #[test]
    fn a_bar_ends_no_cell() {
        assert_eq!(cell_of("auth0|123 | x"), "`auth0\\|123 \\|` x");
        assert_eq!(cell_of("a\\|b"), "`a\u{fffd}\\|b`");
    }
}
