//! The terminal. The report goes to stdout, everything else to stderr. Nothing here can panic: a
//! lost terminal (SIGHUP, a broken pipe) never ends a run.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal, Read as _, Write};
use std::path::Path;

use jiff::tz::TimeZone;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// A line printed without a terminal has this width: what mails and tickets keep whole.
const WIDTH: usize = 100;

/// How a page looks.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Columns.
    pub(crate) width: usize,
    /// Whether words are coloured.
    pub(crate) colour: bool,
    /// Whether somebody watches.
    pub(crate) terminal: bool,
    /// The zone of the reader's clock.
    pub(crate) zone: TimeZone,
}

impl Look {
    /// As stdout shows it.
    pub(crate) fn of_stdout() -> Self {
        Self::of(io::stdout().is_terminal(), terminal_size::terminal_size_of(io::stdout()))
    }

    /// As stderr shows it.
    pub(crate) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal(), terminal_size::terminal_size_of(io::stderr()))
    }

    fn of(terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        let width = size.map_or(WIDTH, |(columns, _)| usize::from(columns.0));
        // https://no-color.org: any value that is not empty.
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { width, colour: terminal && !plain, terminal, zone: TimeZone::system() }
    }
}

/// Writes lines to stderr; where they cannot be written there is nobody to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a page to stdout.
///
/// # Errors
/// Those of stdout.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Whether somebody can be asked: a person types, or watches.
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
}

/// Waits for Enter; goes on at once where `yes` was said or nobody can see the question.
pub(crate) fn go_on(yes: bool) -> bool {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return true;
    }
    let _ = write!(io::stderr().lock(), "Enter goes on, Ctrl-C stops: ");
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(1..) => agrees(&line),
        Ok(0) | Err(_) => false,
    }
}

/// Somebody who types a word before Enter has something to say, and most words mean no.
fn agrees(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes")
}

/// Asks for a passphrase, which is not shown; none where nobody can be asked. The terminal itself
/// is asked: stdin and stdout may be a pipe.
pub(crate) fn passphrase(whose: &Path) -> Option<Zeroizing<String>> {
    /// Longer than any that is typed; a line that grew would leave copies behind.
    const LONGEST: usize = 1024;
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let question = format!("Passphrase of {}: ", clean(&whose.display().to_string()));
    // What is typed as soon as the question stands there is neither shown nor dropped.
    tcsetattr(&terminal, OptionalActions::Flush, &quiet).ok()?;
    let asked = terminal.write_all(question.as_bytes());
    let mut line = Zeroizing::new(String::with_capacity(LONGEST));
    // Byte by byte: no buffer keeps a copy of it.
    let read = asked.and_then(|()| {
        io::BufReader::with_capacity(1, (&terminal).take(LONGEST as u64)).read_line(&mut line)
    });
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = terminal.write_all(b"\n");
    read.ok().filter(|length| *length > 0)?;
    Some(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The same text without what moves a cursor, colours a line or turns the reading direction: ids,
/// labels and handles are the provider's words.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
    } else {
        Cow::Borrowed(text)
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || c == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_goes_on_and_any_other_word_does_not() {
        for line in ["\n", "\r\n", "y\n", "Yes\n"] {
            assert!(agrees(line), "{line:?}");
        }
        for line in ["n\n", "no\n", "stop\n", "wait\n", "rotate\n"] {
            assert!(!agrees(line), "{line:?}");
        }
    }

    #[test]
    fn a_label_cannot_paint_the_terminal() {
        assert_eq!(clean("key \u{1b}[2J\u{7}dead"), "key \u{fffd}[2J\u{fffd}dead");
        assert_eq!(clean("a\u{202e}b\nc"), "a\u{fffd}b\u{fffd}c");
        assert!(matches!(clean("Schlüssel 鍵"), Cow::Borrowed("Schlüssel 鍵")));
    }
}
