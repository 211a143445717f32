//! Lists of things as people and tickets read them.

use super::args::Format;
use super::markdown;
use super::terminal::clean;

/// Between two columns.
const GAP: &str = "  ";

/// A list in the look of the output.
pub(crate) fn of(format: Format, head: &[&str], rows: &[Vec<String>]) -> String {
    match format {
        Format::Markdown => ticket(head, rows),
        Format::Human | Format::Json => plain(head, rows),
    }
}

/// Columns of the same width, for a terminal. Words of others are cleaned.
fn plain(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell).into_owned()).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain(head.get(at).map(|word| word.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join(GAP);
        format!("{}\n", line.trim_end())
    };
    let mut text = line(head.to_vec());
    text.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    text
}

/// The same for a ticket.
fn ticket(head: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = head.iter().map(|word| word.to_lowercase()).collect();
    let mut text = format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| markdown::cell_of(cell)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let rows =
            [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "\u{7}".to_owned()]];
        assert_eq!(plain(&["N", "VALUE"], &rows), "N     VALUE\na     1\nlong  \u{fffd}\n");
        assert_eq!(
            ticket(&["N", "VALUE"], &rows),
            "| n | value |\n|---|---|\n| a | 1 |\n| long | `\u{fffd}` |\n"
        );
    }
}
