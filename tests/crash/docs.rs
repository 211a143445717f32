//! The section `## Crashes` of `docs/reliability.md`, written by the test that found what it says.

use std::path::Path;
use std::process::Command;

const SECTION: &str = "## Crashes\n";

const BEFORE: &str = "\
The built binary contains a role at each of these servers and delivers (`--role ... --deliver`).
It is killed with SIGKILL, taken up (`rotate resume`; begun again where nothing had been written
yet), and held against a run that nobody disturbed: the same report but for handles, times and
orphans that were ended, the same exit code, one live credential at the server, the same place
filled, the role marked.

- *before a call*: the server has not heard it. *after a call*: it has done what was asked, and
  nobody was told. A gate of the test stands before each server and counts the turns of the talk;
  it kills, waits until the process is over, and only then lets go of the connection. The number
  of a turn is the order of arrival: calls that leave at the same time may change places from run
  to run.
- *in a journal write*: inside the transaction that writes that record, or the end of the run. A
  trigger in the journal's own file holds the writer there, so that exactly that transaction is
  lost; what was on its way to servers meanwhile goes on.
- *random instants*, and *killed twice*: at any of these points, and once more early in the run
  that took it up.

*told*: the server lists nothing and knows no labels, and the answer to an issue was lost. The old
one is dead, and a person is told to make the new one (exit 3); nothing is asked for twice. *over
before*: the run had ended before its point came.
";

/// Writes the table, where `ROTATE_WRITE_DOCS` asks for it.
pub(crate) fn write(table: &str, crashes: usize) {
    if std::env::var_os("ROTATE_WRITE_DOCS").is_none() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/reliability.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Reliability\n".to_owned());
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short", "HEAD"]).current_dir(root);
    let commit = git.output().map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let commit = commit.unwrap_or_default();
    let every = std::env::var_os("ROTATE_CRASH").map_or("", |_| "ROTATE_CRASH=all ");
    let section = format!(
        "{SECTION}\n{BEFORE}\n{crashes} points were tried, at commit {}, by \
         `{every}ROTATE_WRITE_DOCS=1 cargo test --test crash killed_anywhere`. The tests try a share of the points,\n\
         `ROTATE_CRASH_SHARE=N` another one; `ROTATE_CRASH=all` tries every one.\n\n{table}",
        commit.trim()
    );
    std::fs::write(&path, put(&text, &section)).unwrap();
}

/// The text with its section of that heading replaced, or the section behind it.
fn put(text: &str, section: &str) -> String {
    let Some(begin) = text.find(SECTION) else {
        return format!("{}\n\n{section}", text.trim_end());
    };
    let rest = &text[begin + SECTION.len()..];
    let after = rest.find("\n## ").map_or("", |end| &rest[end..]);
    format!("{}{section}{after}", &text[..begin])
}

#[test]
fn a_section_is_put_where_it_was_and_others_stay() {
    let section = "## Crashes\n\nnew\n";
    assert_eq!(put("# R\n", section), "# R\n\n## Crashes\n\nnew\n");
    let text = "# R\n\n## Faults\n\nf\n\n## Crashes\n\nold\n\n## Fuzzing\n\nz\n";
    let wanted = "# R\n\n## Faults\n\nf\n\n## Crashes\n\nnew\n\n## Fuzzing\n\nz\n";
    assert_eq!(put(text, section), wanted);
    assert_eq!(put(wanted, section), wanted);
}
