//! `line:PATH#N`: the value of a known shape on one line of a file; read only. It is what secret
//! scanners and transcripts point at.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::atomic::{FILE_MAX, open};
use super::{because, system};
use crate::engine::call::{Reason, Why};
use crate::secret::Secret;

/// Finds every value of a known shape in a line: byte ranges of the text.
pub type Shapes = Arc<dyn Fn(&str) -> Vec<Range<usize>> + Send + Sync>;

/// The longest way to a line. Transcripts grow to hundreds of MiB; 1 GiB is read in seconds.
const WAY_MAX: u64 = 1 << 30;

/// Reads the one value of known shape on line `number`, counted from 1. The same value twice is
/// one.
///
/// # Errors
/// [`Reason::Unreadable`], with a word: `bad-reference`, `not-regular`, `too-large`,
/// `ambiguous`; [`Reason::Empty`] with `no-such-line` or `no-known-shape`.
pub(super) fn read(path: &Path, number: &str, shapes: &Shapes) -> Result<Secret, Why> {
    let unreadable = |word| because(Reason::Unreadable, word);
    let number: u64 = number.parse().map_err(|_| unreadable("bad-reference"))?;
    let file = open(path).map_err(|error| system(Reason::Unreadable, &error))?;
    if !file.metadata().is_ok_and(|known| known.is_file()) {
        return Err(unreadable("not-regular"));
    }
    let line = nth(file, number)?;
    let text = text(&line);
    let mut values: Vec<&str> =
        shapes(text.as_str()).into_iter().filter_map(|span| text.get(span)).collect();
    values.sort_unstable();
    values.dedup();
    match values.as_slice() {
        [] => Err(because(Reason::Empty, "no-known-shape")),
        [value] => Ok(Secret::new(value.as_bytes().to_vec())),
        _ => Err(unreadable("ambiguous")),
    }
}

/// A line as text of the same length: what is no UTF-8 stands as blanks. One such byte in a log
/// hides no value beside it.
pub(super) fn text(line: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(line.len()));
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| ' '));
    }
    text
}

fn nth(file: File, number: u64) -> Result<Zeroizing<Vec<u8>>, Why> {
    let mut reader = BufReader::new(file.take(WAY_MAX));
    let room = usize::try_from(FILE_MAX + 1).unwrap_or(usize::MAX);
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    if number == 0 {
        return Err(because(Reason::Unreadable, "bad-reference"));
    }
    for _ in 1..number {
        if reader.skip_until(b'\n').map_err(|error| system(Reason::Unreadable, &error))? == 0 {
            return Err(because(Reason::Empty, "no-such-line"));
        }
    }
    (&mut reader)
        .take(FILE_MAX + 1)
        .read_until(b'\n', &mut line)
        .map_err(|error| system(Reason::Unreadable, &error))?;
    match line.len() as u64 {
        0 => Err(because(Reason::Empty, "no-such-line")),
        length if length > FILE_MAX => Err(because(Reason::Unreadable, "too-large")),
        _ => Ok(line),
    }
}
