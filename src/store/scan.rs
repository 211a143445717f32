//! What lies in the files of a role without standing in an inventory: every value of a known shape
//! that no entry names, and the names of the other keys beside it. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use walkdir::WalkDir;
use zeroize::Zeroizing;

use super::atomic::open;
use super::path::resolve;
use super::{because, content, dotenv, line};
use crate::engine::call::{Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// The longest file that is looked through. Configuration and tokens are far below; transcripts
/// and logs beyond it are told as not read.
const FILE_MAX: u64 = 8 << 20;

/// How much is looked through for one role: a few seconds of reading and searching. A home with
/// more in it is mostly what an agent downloaded.
const ALL_MAX: u64 = 256 << 20;

/// How many files of a home are looked at, for the same reason.
const FILES_MAX: usize = 20_000;

/// How many values, names and gaps are told one by one; a report with more is read by nobody.
const TOLD_MAX: usize = 200;

/// Finds every value of a known shape in a line: where it stands, and its provider and kind.
pub(crate) type Identify = Arc<dyn Fn(&str) -> Vec<(Range<usize>, String, String)> + Send + Sync>;

/// Where to look.
pub(crate) struct Sought {
    /// Files that credentials of the role live in, as the inventory writes them.
    pub(crate) files: Vec<String>,
    /// The folder of its platform: every file in it.
    pub(crate) home: Option<String>,
    /// Places that entries name: what stands there, and the same value elsewhere, is listed.
    pub(crate) named: Vec<SecretRef>,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Values of a known shape that no entry names, each once.
    pub(crate) found: Vec<Unnamed>,
    /// `SCHEME:PATH#KEY` of the other keys in the files that entries name.
    pub(crate) other_keys: Vec<String>,
    /// What was not looked through, and why.
    pub(crate) gaps: Vec<String>,
    /// Lines that hold several values: a reference to one means none of them.
    pub(crate) crowded: BTreeSet<String>,
}

/// A value that no entry names.
pub(crate) struct Unnamed {
    /// The reference that would name it.
    pub(crate) place: String,
    /// Provider and kind of every shape it has.
    pub(crate) kinds: Vec<(String, String)>,
    /// The value.
    pub(crate) value: Secret,
}

/// Looks through the files. Links are followed to the files that the inventory names, and never
/// out of a home. A file that cannot be read is a gap, no error.
///
/// Who stops waiting leaves a thread behind that ends when the disk answers.
///
/// # Errors
/// [`Reason::Unreadable`] if looking itself failed.
pub(crate) async fn scan(
    sought: Sought,
    root: Option<PathBuf>,
    identify: Identify,
) -> Result<Seen, Why> {
    let scanned = spawn_blocking(move || {
        let mut scan = Scan {
            root: root.as_deref(),
            identify: &identify,
            named: BTreeSet::new(),
            unread: BTreeSet::new(),
            values: BTreeSet::new(),
            binaries: None,
            left: ALL_MAX,
            done: BTreeSet::new(),
            seen: Seen::default(),
        };
        scan.name(&sought.named);
        scan.files(&sought);
        if let Some(home) = &sought.home {
            scan.home(home);
        }
        scan.tell_binaries();
        scan.seen
    });
    scanned.await.map_err(|_| because(Reason::Unreadable, "crashed"))
}

struct Scan<'a> {
    root: Option<&'a Path>,
    identify: &'a Identify,
    /// Places that entries name, as they are written, without their parts.
    named: BTreeSet<String>,
    /// Those of them, named whole, whose value could not be read: all that stands there is theirs.
    unread: BTreeSet<String>,
    /// What stands there: SHA-256, so that ten thousand are no longer looked through than one.
    values: BTreeSet<[u8; 32]>,
    /// The first binary file, and how many there were.
    binaries: Option<(String, usize)>,
    /// Bytes that may still be read.
    left: u64,
    /// Files that were looked through, by the file itself.
    done: BTreeSet<PathBuf>,
    seen: Seen,
}

impl Scan<'_> {
    /// Remembers what stands where entries say. What cannot be read now is told by whoever needs
    /// it.
    fn name(&mut self, places: &[SecretRef]) {
        let mut by_path: BTreeMap<&str, Vec<&SecretRef>> = BTreeMap::new();
        for place in places {
            self.named.insert(SecretRef { part: None, ..place.clone() }.to_string());
            match place.scheme.as_str() {
                "file" | "dotenv" | "json" => {
                    by_path.entry(&place.path).or_default().push(place);
                }
                "line" => {
                    let value = self.on_line(place);
                    self.held(place, value);
                }
                "env" if !place.path.contains(['=', '\0']) => {
                    let value = std::env::var_os(&place.path);
                    let value = value.map(|it| Secret::new(it.into_encoded_bytes()));
                    self.values.extend(value.as_ref().map(digest));
                }
                _ => {}
            }
        }
        for (path, places) in by_path {
            let real = resolve(path, self.root, Reason::Unreadable).ok();
            let bytes = real.and_then(|real| read(&real.real).ok());
            for at in places {
                let value = bytes.as_ref().and_then(|bytes| content::get(bytes, at).ok()?);
                self.held(at, value);
            }
        }
    }

    fn held(&mut self, place: &SecretRef, value: Option<Secret>) {
        match value {
            Some(value) => {
                self.values.insert(digest(&value));
            }
            None if place.part.is_none() => {
                self.unread.insert(place.to_string());
            }
            None => {}
        }
    }

    fn on_line(&self, place: &SecretRef) -> Option<Secret> {
        let real = resolve(&place.path, self.root, Reason::Unreadable).ok()?.real;
        let identify = Arc::clone(self.identify);
        let spans = move |text: &str| identify(text).into_iter().map(|(span, ..)| span).collect();
        let shapes: line::Shapes = Arc::new(spans);
        line::read(&real, place.fragment.as_deref()?, &shapes).ok()
    }

    /// The files that entries name: their other keys are told too.
    fn files(&mut self, sought: &Sought) {
        let of = |scheme| {
            let named = sought.named.iter().filter(move |it| it.scheme == scheme);
            named.map(|it| it.path.as_str()).collect::<BTreeSet<&str>>()
        };
        let (dotenvs, jsons) = (of("dotenv"), of("json"));
        for path in &sought.files {
            let real = match resolve(path, self.root, Reason::Unreadable) {
                Ok(resolved) => resolved.real,
                // Told with the credential that lives there.
                Err(_) => continue,
            };
            if !self.done.insert(real.clone()) {
                continue;
            }
            // So is a file that cannot be read.
            if !real.is_file() {
                continue;
            }
            let Some(bytes) = self.bytes(&real, path) else { continue };
            let (as_dotenv, as_json) =
                (dotenvs.contains(path.as_str()), jsons.contains(path.as_str()));
            self.look(&bytes, path, as_dotenv);
            if as_dotenv {
                let keys = dotenv::keys(&bytes).into_iter().map(|(key, _)| key);
                self.other_keys("dotenv", path, keys);
            }
            if as_json {
                let keys = members(&bytes).into_iter();
                let keys =
                    keys.map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                self.other_keys("json", path, keys);
            }
        }
    }

    fn other_keys(&mut self, scheme: &str, path: &str, keys: impl Iterator<Item = String>) {
        let told: BTreeSet<String> = self.seen.found.iter().map(|it| it.place.clone()).collect();
        for key in keys.take(TOLD_MAX) {
            let place = self.masked(&format!("{scheme}:{path}#{key}"));
            let inside = |named: &String| named.starts_with(&format!("{place}/"));
            let known = self.named.contains(&place)
                || told.contains(&place)
                || self.named.iter().any(inside)
                || self.seen.other_keys.contains(&place);
            if !known && self.seen.other_keys.len() < TOLD_MAX {
                self.seen.other_keys.push(place);
            }
        }
    }

    fn home(&mut self, home: &str) {
        let Ok(top) = resolve(home, self.root, Reason::Unreadable) else {
            return self.gap(home, "not found");
        };
        let device = |path: &Path| path.symlink_metadata().ok().map(|known| known.dev());
        let here = device(&top.real);
        let walk = WalkDir::new(&top.real).follow_links(false).same_file_system(true);
        let mut count = 0;
        for entry in walk.sort_by_file_name() {
            let Ok(entry) = entry else {
                self.gap(home, "a folder in it cannot be read");
                continue;
            };
            let below = entry.path().strip_prefix(&top.real).unwrap_or(entry.path());
            let path = Path::new(home).join(below).display().to_string();
            // It is named, and not entered.
            if entry.file_type().is_dir() && device(entry.path()) != here {
                self.gap(&path, "it is on another file system");
            }
            if !entry.file_type().is_file() || self.done.contains(entry.path()) {
                continue;
            }
            count += 1;
            if count > FILES_MAX || self.left == 0 {
                return self.gap(home, "it holds more than is looked through");
            }
            let Some(bytes) = self.bytes(entry.path(), &path) else { continue };
            let name = entry.file_name().to_string_lossy();
            let as_dotenv = name.starts_with(".env") || name.ends_with(".env");
            self.look(&bytes, &path, as_dotenv);
        }
    }

    fn bytes(&mut self, real: &Path, path: &str) -> Option<Zeroizing<Vec<u8>>> {
        match read(real) {
            Ok(bytes) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(bytes)
            }
            Err(why) => {
                self.gap(path, why);
                None
            }
        }
    }

    /// Tells what has a known shape in a file and is named nowhere.
    fn look(&mut self, bytes: &[u8], path: &str, as_dotenv: bool) {
        // A zero byte stands in no text; programs and pictures are full of them.
        if bytes.iter().take(8192).any(|byte| *byte == 0) {
            match &mut self.binaries {
                Some((_, all)) => *all += 1,
                none => *none = Some((path.to_owned(), 1)),
            }
            return;
        }
        let keys = if as_dotenv { dotenv::keys(bytes) } else { Vec::new() };
        let last: BTreeMap<&str, usize> =
            keys.iter().map(|(key, raw)| (key.as_str(), raw.start)).collect();
        let mut start = 0;
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let from = start;
            start += line.len();
            let blanked;
            let text = match std::str::from_utf8(line) {
                Ok(text) => text,
                Err(_) => {
                    blanked = line::text(line);
                    blanked.as_str()
                }
            };
            let of_line = format!("line:{path}#{number}");
            let mut on_line = BTreeSet::new();
            for (span, provider, kind) in (self.identify)(text) {
                let Some(value) = text.get(span.clone()) else { continue };
                on_line.insert(value);
                let at = from + span.start..from + span.end;
                let key = whole(bytes, &keys, &at);
                let key = key.filter(|(key, raw)| last.get(key) == Some(&raw.start));
                let place = match key {
                    Some((key, _)) => format!("dotenv:{path}#{key}"),
                    None => of_line.clone(),
                };
                self.tell(place, Secret::new(value.as_bytes().to_vec()), (provider, kind));
            }
            if on_line.len() > 1 {
                self.seen.crowded.insert(self.masked(&of_line));
            }
        }
    }

    fn tell(&mut self, place: String, value: Secret, kind: (String, String)) {
        if self.unread.contains(&place) || self.values.contains(&digest(&value)) {
            return;
        }
        let place = self.masked(&place);
        if let Some(known) = self.seen.found.iter_mut().find(|it| it.value.same(&value)) {
            if known.place == place && !known.kinds.contains(&kind) {
                known.kinds.push(kind);
            }
            return;
        }
        if self.seen.found.len() == TOLD_MAX {
            return self.gap("the files of the role", "more values than are told");
        }
        self.seen.found.push(Unnamed { place, kinds: vec![kind], value });
    }

    /// A file may be named after a token.
    fn masked(&self, text: &str) -> String {
        let mut plain = text.to_owned();
        for (span, ..) in (self.identify)(text).into_iter().rev() {
            plain.replace_range(span, "...");
        }
        plain
    }

    /// A home may hold thousands of pictures: one warning for all of them.
    fn tell_binaries(&mut self) {
        match self.binaries.take() {
            None => {}
            Some((only, 1)) => self.gap(&only, "it is binary"),
            Some((first, all)) => self.gap(&first, &format!("one of {all} binary files")),
        }
    }

    fn gap(&mut self, path: &str, why: &str) {
        let gap = format!("{}: {why}", self.masked(path));
        if self.seen.gaps.len() < TOLD_MAX && !self.seen.gaps.contains(&gap) {
            self.seen.gaps.push(gap);
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let file = open(path).map_err(|_| "it cannot be read")?;
    let known = file.metadata().map_err(|_| "it cannot be read")?;
    if !known.is_file() {
        return Err("it is no regular file");
    }
    if known.len() > FILE_MAX {
        return Err("it is longer than 8 MiB");
    }
    // Room from the start: a buffer that grows leaves copies behind. A reader wants some of it
    // free before it believes that the end has come.
    let room = usize::try_from(known.len()).unwrap_or_default().saturating_add(4096);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let most = u64::try_from(room).unwrap_or(FILE_MAX).saturating_sub(64);
    file.take(most).read_to_end(&mut bytes).map_err(|_| "it cannot be read")?;
    Ok(bytes)
}

/// The key whose value is exactly what stands there, quotes apart, and where it stands.
fn whole<'k>(
    bytes: &[u8],
    keys: &'k [(String, Range<usize>)],
    at: &Range<usize>,
) -> Option<(&'k str, &'k Range<usize>)> {
    let next = keys.partition_point(|(_, raw)| raw.start <= at.start);
    let (key, raw) = keys.get(next.checked_sub(1)?)?;
    let quoted = matches!(bytes.get(raw.start), Some(b'"' | b'\'' | b'`'))
        && (raw.start + 1, raw.end) == (at.start, at.end + 1);
    (raw == at || quoted).then_some((key, raw))
}

fn digest(value: &Secret) -> [u8; 32] {
    Sha256::digest(value.expose()).into()
}

/// The names in a JSON object, and nothing of its values.
fn members(bytes: &[u8]) -> Vec<String> {
    let names: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(bytes);
    names.map(|names| names.into_keys().collect()).unwrap_or_default()
}
