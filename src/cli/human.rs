//! The report for people: who and what first, then every credential, then what is left to do.

use std::fmt::Write as _;

use super::exit;
use super::terminal::{Look, clean};
use super::words;
use crate::engine::report::{
    CredentialReport, Evidence, NewState, Report, RoleDetail, Stamp, Stopped, Timings, Todo, Until,
    Verdict,
};

/// Between two columns.
const GAP: usize = 2;

/// The page that stdout carries.
pub(crate) fn page(report: &Report, look: &Look) -> String {
    let page = Page { report, look };
    let sections = [
        page.title(),
        page.credentials(),
        page.roles(),
        page.speed(),
        list("What the old ones minted, and may still live:", page.residual()),
        list("Unrecognised at the provider, untouched:", page.strangers()),
        list("Issued by this run, bytes lost:", page.orphans()),
        list("Dies too, outside this run:", page.collateral()),
        list("Not in the inventory, burned and untouched:", page.unlisted()),
        list("Other keys of the same files:", lines(&report.other_keys)),
        list("Changed in the inventory since the last run:", lines(&report.inventory.changed)),
        list("Warnings:", lines(&report.warnings)),
        page.todo(),
        page.end(),
    ];
    let said: Vec<&str> = sections.iter().map(|text| text.trim_end()).collect();
    let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
    format!("{}\n", said.join("\n\n"))
}

struct Page<'a> {
    report: &'a Report,
    look: &'a Look,
}

/// One line of the table; the notes stand under it.
struct Row {
    cells: [String; 5],
    verdict: Verdict,
    notes: Vec<String>,
}

impl Page<'_> {
    fn title(&self) -> String {
        let report = self.report;
        let mut title = format!(
            "{} of {}, run {}",
            words::mode(report.mode),
            words::whose(&report.roles),
            clean(&report.run)
        );
        for (name, value) in [("case", &report.case), ("session", &report.session)] {
            if let Some(value) = value {
                let _ = write!(title, ", {name} {}", clean(value));
            }
        }
        if let Some(of) = &report.of {
            let _ = write!(title, ", of run {} ({})", clean(&of.run), words::mode(of.mode));
        }
        let _ = write!(title, "\nbegun {}", self.local(report.started));
        match report.finished {
            Some(finished) => {
                let _ = write!(title, ", finished {}", self.local(finished));
            }
            None => title.push_str(", not finished"),
        }
        for (name, who) in [("owner", &report.owner), ("authorized by", &report.authorized_by)] {
            if let Some(who) = who {
                let _ = write!(title, "\n{name} {}", clean(who));
            }
        }
        if let Some(vendor) = &report.vendor {
            let contact = vendor.contact.as_deref().map_or(String::new(), |it| format!(", {it}"));
            let _ = write!(title, "\nvendor {}", clean(&format!("{}{contact}", vendor.name)));
        }
        if !report.upstream.is_empty() {
            let names = report.upstream.join(", ");
            let _ = write!(title, "\ncan be handed new credentials by {}", clean(&names));
        }
        title
    }

    fn credentials(&self) -> String {
        let rows: Vec<Row> = self.report.credentials.iter().map(|one| self.row(one)).collect();
        if rows.is_empty() {
            return "no credential in this run".to_owned();
        }
        let head = ["CREDENTIAL", "PROVIDER", "VERDICT", "OLD", "NEW"];
        let mut widths = head.map(width);
        for row in &rows {
            for (widest, cell) in widths.iter_mut().zip(&row.cells) {
                *widest = width(cell).max(*widest);
            }
        }
        let total: usize = widths.iter().map(|it| it + GAP).sum();
        let table = total.saturating_sub(GAP) <= self.look.width;
        let mut text = String::new();
        if table {
            text.push_str(&aligned(&head.map(str::to_owned), &widths, None));
        }
        for row in &rows {
            let [id, provider, verdict, old, new] = &row.cells;
            if table {
                let paint = self.look.colour.then_some(row.verdict);
                text.push_str(&aligned(&row.cells, &widths, paint));
            } else {
                // Too narrow for a table: names are never cut, a person copies them.
                let verdict = self.painted(row.verdict, verdict);
                let _ =
                    writeln!(text, "{id} ({provider}): {verdict}\n    old {old}\n    new {new}");
            }
            for note in &row.notes {
                text.push_str(&wrapped(note, self.look.width));
            }
        }
        text
    }

    fn row(&self, one: &CredentialReport) -> Row {
        let old = one.old.handle.clone().or_else(|| fingerprint(one.old.fingerprint.as_ref()));
        let new = match one.new.handle.clone().or_else(|| fingerprint(one.new.fingerprint.as_ref()))
        {
            Some(name) => format!("{} {name}", words::new_state(one.new.state)),
            None => words::new_state(one.new.state).to_owned(),
        };
        let cells = [
            one.id.clone(),
            one.provider.clone(),
            words::verdict(one.old.verdict).to_owned(),
            old.unwrap_or_else(|| "-".to_owned()),
            new,
        ];
        Row {
            cells: cells.map(|cell| clean(&cell).into_owned()),
            verdict: one.old.verdict,
            notes: self.notes(one).iter().map(|note| clean(note).into_owned()).collect(),
        }
    }

    fn notes(&self, one: &CredentialReport) -> Vec<String> {
        let mut notes = Vec::new();
        if !matches!(one.old.verdict, Verdict::Dead | Verdict::AlreadyDead) {
            let until = match (one.old.verdict, one.old.until) {
                (Verdict::Dying, Some(at)) => format!(", waited for until {}", self.local(at)),
                (Verdict::Expires, Some(at)) => format!(", ends {}", self.local(at)),
                _ => String::new(),
            };
            let revoke = words::revoke(one.old.revoke);
            notes.push(match one.old.why.as_str() {
                "" => format!("{revoke}{until}"),
                why => format!("{why}{until}"),
            });
        }
        for place in &one.new.delivered {
            notes.push(format!("new one in {} ({})", place.to, words::place_state(place.state)));
        }
        for place in &one.new.not_delivered {
            notes.push(format!("new one NOT in {}: {}", place.to, place.why));
        }
        if let Some(why) = &one.new.why {
            notes.push(format!("new one {}: {why}", words::new_state(one.new.state)));
        } else if one.new.state == NewState::NotIssued && one.new.planned {
            notes.push("no new one, and one was to be issued".to_owned());
        }
        if let Some(change) = &one.new.identity {
            notes.push(format!("acts as {}, and acted as {}", change.to, change.from));
        }
        notes
    }

    fn roles(&self) -> String {
        let mut text = String::new();
        let several = self.report.role_details.len() > 1;
        for role in &self.report.role_details {
            let whose = if several { format!("{}: ", clean(&role.role)) } else { String::new() };
            text.push_str(&self.role(role, &whose));
        }
        text
    }

    fn role(&self, role: &RoleDetail, whose: &str) -> String {
        let Stopped { state, at, why } = &role.stopped;
        let mut text = format!("{whose}agent: {}", words::stop(*state));
        if let Some(at) = at {
            let _ = write!(text, " ({})", self.local(*at));
        }
        if let Some(why) = why {
            let _ = write!(text, ": {}", clean(why));
        }
        let Evidence { state, archive, sha256, gaps } = &role.evidence;
        let _ = write!(text, "\n{whose}evidence: {}", words::evidence(*state));
        if let Some(archive) = archive {
            let _ = write!(text, " in {}", clean(archive));
        }
        if let Some(sha256) = sha256 {
            let _ = write!(text, "\n    sha256 {}", clean(sha256));
        }
        for gap in gaps {
            let _ = write!(text, "\n    not saved: {}", clean(gap));
        }
        text.push('\n');
        text
    }

    fn speed(&self) -> String {
        let Timings { first_revoke_ms, last_revoke_ms, last_dead_ms } = self.report.timings;
        let said = [
            ("first revocation accepted after", first_revoke_ms),
            ("last after", last_revoke_ms),
            ("last one proved dead after", last_dead_ms),
        ];
        let said: Vec<String> = said
            .into_iter()
            .filter_map(|(what, ms)| ms.map(|ms| format!("{what} {}", elapsed(ms))))
            .collect();
        said.join(", ")
    }

    fn residual(&self) -> Vec<String> {
        self.each(|one| {
            let line = |child: &crate::engine::report::Residual| {
                let until = match child.until {
                    Until::At(at) if child.until.passed(self.report.as_of) => {
                        format!("ended {}", self.local(at))
                    }
                    Until::At(at) => format!("until {}", self.local(at)),
                    Until::Unknown => "nobody says until when".to_owned(),
                    Until::Forever => "for ever".to_owned(),
                    Until::Open => "until it is evicted, and it was not".to_owned(),
                };
                format!("{}: {}, {until}", one.id, child.what)
            };
            one.residual.iter().flatten().map(line).collect()
        })
    }

    fn strangers(&self) -> Vec<String> {
        self.each(|one| {
            let line = |it: &crate::engine::report::Stranger| {
                let mut text = format!("{}: {}", one.id, it.handle);
                for (name, value) in
                    [("label", &it.label), ("created", &it.created), ("last used", &it.used)]
                {
                    if let Some(value) = value {
                        let _ = write!(text, ", {name} {value}");
                    }
                }
                let _ = write!(text, " ({})", words::stranger(it.class));
                text
            };
            one.strangers.iter().map(line).collect()
        })
    }

    fn orphans(&self) -> Vec<String> {
        self.each(|one| {
            let line = |it: &crate::engine::report::Orphan| {
                let end = if it.revoked { "revoked" } else { "NOT revoked" };
                format!("{}: {}, {end}", one.id, it.handle)
            };
            one.orphans.iter().map(line).collect()
        })
    }

    fn collateral(&self) -> Vec<String> {
        self.each(|one| one.collateral.iter().map(|it| format!("{}: {it}", one.id)).collect())
    }

    fn unlisted(&self) -> Vec<String> {
        self.report.unlisted.iter().map(words::unlisted).collect()
    }

    fn each(&self, of: impl Fn(&CredentialReport) -> Vec<String>) -> Vec<String> {
        let all = self.report.credentials.iter().flat_map(of);
        all.map(|line| clean(&line).into_owned()).collect()
    }

    fn todo(&self) -> String {
        let own = |one: &CredentialReport| -> Vec<(Option<String>, Todo)> {
            one.todo.iter().map(|todo| (Some(one.id.clone()), todo.clone())).collect()
        };
        let mut all: Vec<_> = self.report.credentials.iter().flat_map(own).collect();
        all.extend(self.report.todo.iter().map(|todo| (None, todo.clone())));
        if all.is_empty() {
            return String::new();
        }
        let mut text = "Left for a person:\n".to_owned();
        for (number, (id, todo)) in (1..).zip(&all) {
            let whose = id.as_ref().map_or(String::new(), |id| format!("{id}: "));
            let _ = writeln!(text, "{number:>3}. {}", clean(&format!("{whose}{}", todo.what)));
            let _ = writeln!(text, "     {}", clean(&todo.action));
            if let Some(at) = &todo.at {
                let _ = writeln!(text, "     {}", clean(at));
            }
        }
        text
    }

    fn end(&self) -> String {
        let report = self.report;
        let sum = report.summary;
        let counts = [
            (sum.dead, "dead"),
            (sum.already_dead, "already-dead"),
            (sum.refused, "refused"),
            (sum.dying, "dying"),
            (sum.expires, "expires"),
            (sum.alive, "alive"),
            (sum.unproven, "unproven"),
        ];
        let said: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let old = if said.is_empty() { "no verdict".to_owned() } else { said.join(", ") };
        let mut text = format!("{old}; {} replaced; {} left to do", sum.replaced, sum.todo);
        if let Some(why) = &report.failed {
            let _ = write!(text, "\nrotate failed: {}", clean(why));
        }
        if let Some(at) = report.journal_lost_at {
            let _ = write!(text, "\nthe journal could not be written from {} on", self.local(at));
        }
        if let Some(head) = &report.journal_head {
            let _ = write!(text, "\njournal {}", clean(head));
        }
        let _ =
            write!(text, "\nexit code {}: {}", report.exit_code, exit::meaning(report.exit_code));
        text
    }

    fn painted(&self, verdict: Verdict, word: &str) -> String {
        if self.look.colour { paint(verdict, word) } else { word.to_owned() }
    }

    /// By the reader's clock, with its offset.
    fn local(&self, stamp: Stamp) -> String {
        let zoned = stamp.timestamp().to_zoned(self.look.zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }
}

fn aligned(cells: &[String; 5], widths: &[usize; 5], paints: Option<Verdict>) -> String {
    let mut line = String::new();
    for (column, (cell, widest)) in cells.iter().zip(widths).enumerate() {
        let pad = widest.saturating_sub(width(cell)) + GAP;
        match paints {
            Some(verdict) if column == VERDICT => line.push_str(&paint(verdict, cell)),
            _ => line.push_str(cell),
        }
        line.push_str(&" ".repeat(pad));
    }
    format!("{}\n", line.trim_end())
}

/// The column that is coloured.
const VERDICT: usize = 2;

/// Green is for what nobody has to look at again, red for what still works.
fn paint(verdict: Verdict, word: &str) -> String {
    let colour = match verdict {
        Verdict::Dead | Verdict::AlreadyDead => "32",
        Verdict::Alive => "1;31",
        Verdict::Refused | Verdict::Dying | Verdict::Expires | Verdict::Unproven => "33",
    };
    format!("\u{1b}[{colour}m{word}\u{1b}[0m")
}

/// A note under its line, broken between words.
fn wrapped(note: &str, columns: usize) -> String {
    const INDENT: &str = "    ";
    let mut text = String::new();
    let mut line = INDENT.to_owned();
    for word in note.split(' ') {
        let full = width(&line) + 1 + width(word) > columns;
        if full && line.trim_start() != "" {
            let _ = writeln!(text, "{line}");
            line = format!("{INDENT}  ");
        } else if line.trim_start() != "" {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
    text
}

fn list(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    lines.iter().fold(title.to_owned(), |text, line| format!("{text}\n  {line}"))
}

fn lines(all: &[String]) -> Vec<String> {
    all.iter().map(|line| clean(line).into_owned()).collect()
}

/// Twelve digits of an HMAC tell any two credentials of an inventory apart; the JSON has them all.
pub(crate) fn fingerprint(full: Option<&String>) -> Option<String> {
    full.filter(|it| !it.is_empty())
        .map(|it| format!("#{}", it.chars().take(12).collect::<String>()))
}

fn elapsed(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
