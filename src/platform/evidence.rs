//! Evidence: files of the agent, saved into one sealed archive before anything on its disk changes.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use crate::engine::call::{Fault, Reason, Why};
use crate::seal::Seal;

/// How much is saved. An agent's transcripts and logs reach some GiB; beyond that the copy would
/// fill the disk that the journal needs. What is left out is a gap, and said.
const ARCHIVE_MAX: u64 = 4 << 30;

/// How many gaps are named one by one; a report with more is read by nobody.
const GAPS_MAX: usize = 200;

/// How many archives of one role one run may make: a resumed run makes another.
const ARCHIVES_MAX: u32 = 1000;

/// What to save, and where.
pub(crate) struct Preservation {
    /// Absolute globs, or below `~`; `*` stays within a folder, `**` does not.
    pub(crate) globs: Vec<String>,
    /// Where absolute globs begin, if not at `/`.
    pub(crate) root: Option<PathBuf>,
    /// The folder of the archive; made if it is not there.
    pub(crate) dir: PathBuf,
    /// The archive's name without its ending.
    pub(crate) name: String,
}

/// What was saved.
pub(crate) struct Saved {
    /// The archive's path.
    pub(crate) archive: String,
    /// SHA-256 of the sealed archive, hexadecimal.
    pub(crate) sha256: String,
    /// What could not be saved, and why.
    pub(crate) gaps: Vec<String>,
}

/// Copies every file that matches into a new archive `NAME.tar.age`, mode 0600. Links are saved as
/// links and never followed. Durable when it returns.
///
/// # Errors
/// [`Fault::Refused`] if the archive cannot be written. What cannot be read is a gap, no error.
pub(crate) async fn preserve(job: Preservation, seal: Arc<Seal>) -> Result<Saved, Fault> {
    let saved = tokio::task::spawn_blocking(move || save(&job, &seal, ARCHIVE_MAX)).await;
    saved
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        .map_err(|error| Fault::Refused(unwritable(&error)))
}

fn unwritable(error: &io::Error) -> Why {
    let word = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk-full",
        io::ErrorKind::PermissionDenied => "permission-denied",
        io::ErrorKind::ReadOnlyFilesystem => "read-only-disk",
        _ => "io-error",
    };
    Why { reason: Reason::Unwritable, status: None, word: Some(word.to_owned()) }
}

fn save(job: &Preservation, seal: &Seal, limit: u64) -> io::Result<Saved> {
    let (path, file) = create(job)?;
    let saved = fill(job, seal, limit, file).and_then(|(sha256, gaps)| {
        File::open(&job.dir)?.sync_all()?;
        Ok(Saved { archive: path.display().to_string(), sha256, gaps })
    });
    saved.inspect_err(|_| {
        // Half an archive is no evidence, and the space is needed.
        let _ = fs::remove_file(&path);
    })
}

fn fill(
    job: &Preservation,
    seal: &Seal,
    limit: u64,
    file: File,
) -> io::Result<(String, Vec<String>)> {
    let own = file.metadata().map(|known| (known.dev(), known.ino()))?;
    let hashed = Hashed { file, hash: Sha256::new() };
    let sealed = seal.wrap(hashed).map_err(io::Error::other)?;
    let mut archive = Archive {
        tar: Builder::new(sealed),
        own,
        left: limit,
        seen: BTreeSet::new(),
        gaps: Gaps::default(),
    };
    for glob in &job.globs {
        archive.add_matches(glob, job.root.as_deref())?;
    }
    let hashed = archive.tar.into_inner()?.finish()?;
    hashed.file.sync_all()?;
    let hash = hashed.hash.finalize();
    Ok((hash.iter().map(|byte| format!("{byte:02x}")).collect(), archive.gaps.told()))
}

/// A file of a name that is not taken yet.
fn create(job: &Preservation) -> io::Result<(PathBuf, File)> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&job.dir)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = job.name.chars().map(plain).collect();
    for number in 1..=ARCHIVES_MAX {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = job.dir.join(format!("{name}{suffix}.tar.age"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((path, opened?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Hashes what goes into the file.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Archive<W: Write> {
    tar: Builder<W>,
    /// Device and inode of the archive, which may lie in a folder that is to be saved.
    own: (u64, u64),
    /// Bytes that may still be saved.
    left: u64,
    /// What two globs match is saved once.
    seen: BTreeSet<PathBuf>,
    gaps: Gaps,
}

impl<W: Write> Archive<W> {
    /// # Errors
    /// The archive cannot be written. What cannot be read is a gap.
    fn add_matches(&mut self, glob: &str, root: Option<&Path>) -> io::Result<()> {
        let pattern = match Pattern::of(glob, root) {
            Ok(pattern) => pattern,
            Err(why) => {
                self.gaps.tell(Path::new(glob), why);
                return Ok(());
            }
        };
        let mut matched = false;
        // The folder that the inventory names may be a link; what lies in it is not followed.
        let walk =
            WalkDir::new(&pattern.base).follow_links(false).follow_root_links(root.is_none());
        for entry in walk.sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&pattern.base).to_owned();
                    self.gaps.tell(&path, word(error.io_error()));
                    continue;
                }
            };
            let Some(named) = pattern.named(entry.path()) else { continue };
            if entry.file_type().is_dir() || !pattern.matcher.is_match(&named) {
                continue;
            }
            matched = true;
            if self.seen.insert(named.clone()) {
                self.add(entry.path(), &named)?;
            }
        }
        if !matched {
            self.gaps.tell(Path::new(glob), "nothing matches");
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, named: &Path) -> io::Result<()> {
        let name = named.strip_prefix("/").unwrap_or(named);
        let known = match fs::symlink_metadata(path) {
            Ok(known) => known,
            Err(error) => return self.gap(named, word(Some(&error))),
        };
        if known.is_symlink() {
            let Ok(target) = fs::read_link(path) else { return self.gap(named, "unreadable") };
            let mut header = header(&known);
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            return self.tar.append_link(&mut header, name, target);
        }
        if !known.is_file() {
            return self.gap(named, "not a regular file");
        }
        if (known.dev(), known.ino()) == self.own {
            return Ok(());
        }
        self.add_file(path, named, name)
    }

    fn add_file(&mut self, path: &Path, named: &Path, name: &Path) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags.bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let (file, known) = match opened.and_then(|file| file.metadata().map(|known| (file, known)))
        {
            Ok((file, known)) if known.is_file() => (file, known),
            Ok(_) => return self.gap(named, "not a regular file"),
            Err(error) => return self.gap(named, word(Some(&error))),
        };
        let Some(left) = self.left.checked_sub(known.len()) else {
            return self.gap(named, "left out: the archive is full");
        };
        self.left = left;
        let mut source = Source { file: &file, left: known.len(), broken: false };
        let mut header = header(&known);
        header.set_size(known.len());
        self.tar.append_data(&mut header, name, &mut source)?;
        let stamp = |it: &Metadata| (it.len(), it.mtime(), it.mtime_nsec());
        if source.broken {
            self.gaps.tell(named, "not read to its end: zeros stand for the rest");
        } else if !file.metadata().is_ok_and(|now| stamp(&now) == stamp(&known)) {
            self.gaps.tell(named, "changed while it was read");
        }
        Ok(())
    }

    fn gap(&mut self, named: &Path, why: &str) -> io::Result<()> {
        self.gaps.tell(named, why);
        Ok(())
    }
}

fn header(known: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(known);
    header
}

/// Exactly as many bytes as the header says, whatever the file does meanwhile: else everything
/// behind it in the archive would be unreadable.
struct Source<'a> {
    file: &'a File,
    left: u64,
    broken: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let mut count = 0;
        if !self.broken {
            count = match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                read => read.unwrap_or(0),
            };
            self.broken = count == 0;
        }
        if self.broken {
            buffer.fill(0);
            count = buffer.len();
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// One glob: where the walk begins, and what it keeps.
struct Pattern {
    base: PathBuf,
    root: Option<PathBuf>,
    matcher: GlobMatcher,
}

impl Pattern {
    fn of(glob: &str, root: Option<&Path>) -> Result<Self, &'static str> {
        let glob = absolute(glob, root.is_some())?;
        let matcher = GlobBuilder::new(&glob)
            .literal_separator(true)
            .build()
            .map_err(|_| "not a glob")?
            .compile_matcher();
        let plain = |step: &&str| !step.contains(['*', '?', '[', '{', '\\']);
        let base: PathBuf = std::iter::once("/").chain(glob.split('/').take_while(plain)).collect();
        let Some(root) = root else { return Ok(Self { base, root: None, matcher }) };
        let base = root.join(base.strip_prefix("/").unwrap_or(&base));
        let inside = |path: &Path| -> io::Result<bool> {
            Ok(fs::canonicalize(path)?.starts_with(fs::canonicalize(root)?))
        };
        // An absolute link on the image would lead to this host's own files.
        match inside(&base) {
            Ok(true) => Ok(Self { base, root: Some(root.to_owned()), matcher }),
            Ok(false) => Err("leads out of the root"),
            Err(error) => Err(word(Some(&error))),
        }
    }

    /// The path as the agent's host knows it.
    fn named(&self, path: &Path) -> Option<PathBuf> {
        match &self.root {
            None => Some(path.to_owned()),
            Some(root) => Some(Path::new("/").join(path.strip_prefix(root).ok()?)),
        }
    }
}

fn absolute(glob: &str, rooted: bool) -> Result<String, &'static str> {
    if let Some(below) = glob.strip_prefix("~/") {
        if rooted {
            return Err("whose home is meant, only the other host knows");
        }
        let home = std::env::var("HOME").map_err(|_| "there is no home")?;
        return Ok(format!("{}/{below}", globset::escape(home.trim_end_matches('/'))));
    }
    if glob.starts_with('/') { Ok(glob.to_owned()) } else { Err("not an absolute path") }
}

fn word(error: Option<&io::Error>) -> &'static str {
    match error.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => "not found",
        Some(io::ErrorKind::PermissionDenied) => "permission denied",
        _ => "unreadable",
    }
}

/// What could not be saved.
#[derive(Default)]
struct Gaps {
    named: Vec<String>,
    more: usize,
}

impl Gaps {
    fn tell(&mut self, path: &Path, why: &str) {
        if self.named.len() < GAPS_MAX {
            self.named.push(format!("{}: {why}", path.display()));
        } else {
            self.more += 1;
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("and {} more", self.more));
        }
        self.named
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    struct Agent {
        disk: TempDir,
        seal: Seal,
    }

    impl Agent {
        fn new() -> Self {
            let disk = tempfile::tempdir().unwrap();
            fs::create_dir_all(disk.path().join("logs/deep")).unwrap();
            fs::write(disk.path().join("logs/a.log"), "first").unwrap();
            fs::write(disk.path().join("logs/deep/b.log"), "second").unwrap();
            fs::write(disk.path().join("logs/c.txt"), "third").unwrap();
            Self { disk, seal: Seal::new(&Seal::make_key(), &[]).unwrap() }
        }

        fn at(&self, name: &str) -> String {
            self.disk.path().join(name).display().to_string()
        }

        fn job(&self, globs: &[&str]) -> Preservation {
            Preservation {
                globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
                root: None,
                dir: self.disk.path().join("state"),
                name: "evidence-r1-mail/agent".into(),
            }
        }

        fn save(&self, globs: &[&str]) -> (Saved, BTreeMap<String, String>) {
            self.save_job(&self.job(globs), ARCHIVE_MAX)
        }

        /// What was saved, and what is in it: content by name without the disk's own path.
        fn save_job(&self, job: &Preservation, limit: u64) -> (Saved, BTreeMap<String, String>) {
            let saved = save(job, &self.seal, limit).unwrap();
            let sealed = fs::read(&saved.archive).unwrap();
            let hash: String =
                Sha256::digest(&sealed).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, saved.sha256);
            assert!(!sealed.windows(5).any(|bytes| bytes == b"first"), "not sealed");
            let plain = self.seal.open(&sealed).unwrap();
            let mut archive = tar::Archive::new(plain.expose());
            let mut content = BTreeMap::new();
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let name = format!("/{}", entry.path().unwrap().display());
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                if let Some(target) = entry.link_name().unwrap() {
                    text = format!("-> {}", target.display());
                }
                let own = format!("{}/", self.disk.path().display());
                content.insert(name.strip_prefix(&own).unwrap_or(&name).to_owned(), text);
            }
            (saved, content)
        }
    }

    fn names(content: &BTreeMap<String, String>) -> Vec<&str> {
        content.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_matches_is_saved_once_and_sealed() {
        let agent = Agent::new();
        let (saved, content) = agent.save(&[&agent.at("logs/*.log"), &agent.at("logs/**")]);
        assert_eq!(names(&content), ["logs/a.log", "logs/c.txt", "logs/deep/b.log"]);
        assert_eq!(content["logs/deep/b.log"], "second");
        assert_eq!(saved.gaps, [""; 0]);
        assert!(saved.archive.ends_with("/evidence-r1-mail_agent.tar.age"), "{}", saved.archive);
        assert_eq!(fs::metadata(&saved.archive).unwrap().mode() & 0o7777, 0o600);
        let (_, content) = agent.save(&[&agent.at("logs/*.log")]);
        assert_eq!(names(&content), ["logs/a.log"], "a star stays within its folder");
        let (_, content) = agent.save(&[&agent.at("logs/a.log")]);
        assert_eq!(names(&content), ["logs/a.log"]);
    }

    #[test]
    fn an_archive_never_replaces_another() {
        let agent = Agent::new();
        let (first, _) = agent.save(&[&agent.at("logs/*")]);
        let (second, _) = agent.save(&[&agent.at("logs/*")]);
        assert!(second.archive.ends_with("-2.tar.age"));
        assert!(Path::new(&first.archive).exists());
    }

    #[test]
    fn an_archive_within_the_evidence_does_not_hold_itself() {
        let agent = Agent::new();
        let (saved, content) = agent.save(&[&agent.at("**")]);
        assert_eq!(names(&content), ["logs/a.log", "logs/c.txt", "logs/deep/b.log"]);
        assert_eq!(saved.gaps, [""; 0]);
    }

    #[test]
    fn links_are_saved_as_links_and_pipes_are_gaps() {
        let agent = Agent::new();
        symlink("/etc/passwd", agent.at("logs/link")).unwrap();
        let fifo = agent.at("logs/pipe");
        let mode = 0o600.into();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &*fifo, kind, mode, 0).unwrap();
        let (saved, content) = agent.save(&[&agent.at("logs/*")]);
        assert_eq!(content["logs/link"], "-> /etc/passwd");
        assert_eq!(saved.gaps, [format!("{fifo}: not a regular file")]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let agent = Agent::new();
        let (none, empty) = (agent.at("none/**"), agent.at("logs/*.gz"));
        let (saved, content) =
            agent.save(&["logs/*", &none, &empty, "/[", &agent.at("logs/a.log")]);
        assert_eq!(names(&content), ["logs/a.log"]);
        let expected = [
            "logs/*: not an absolute path".to_owned(),
            format!("{}: not found", agent.at("none")),
            format!("{none}: nothing matches"),
            format!("{empty}: nothing matches"),
            "/[: not a glob".to_owned(),
        ];
        assert_eq!(saved.gaps, expected);
    }

    #[test]
    fn what_does_not_fit_is_a_gap_and_the_rest_is_saved() {
        let agent = Agent::new();
        let job = agent.job(&[&agent.at("logs/*")]);
        let (saved, content) = agent.save_job(&job, 9);
        assert_eq!(names(&content), ["logs/a.log"]);
        let gap = format!("{}: left out: the archive is full", agent.at("logs/c.txt"));
        assert_eq!(saved.gaps, [gap]);
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_leaves_the_archive_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut source = Source { file: &file, left: 5, broken: false };
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), source.broken), (b"abc\0\0".as_slice(), true));
    }

    #[test]
    fn under_a_root_names_are_those_of_the_other_host() {
        let agent = Agent::new();
        symlink("/etc", agent.at("out")).unwrap();
        let root = Some(agent.disk.path().to_owned());
        let job = Preservation { root, ..agent.job(&["/logs/*.log", "/out/**", "~/x"]) };
        let (saved, content) = agent.save_job(&job, ARCHIVE_MAX);
        assert_eq!(names(&content), ["/logs/a.log"]);
        let gaps = [
            "/out/**: leads out of the root",
            "~/x: whose home is meant, only the other host knows",
        ];
        assert_eq!(saved.gaps, gaps);
    }

    #[test]
    fn an_archive_that_cannot_be_written_is_an_error() {
        let agent = Agent::new();
        let blocked = Preservation { dir: agent.at("logs/a.log").into(), ..agent.job(&[]) };
        assert!(save(&blocked, &agent.seal, ARCHIVE_MAX).is_err());
        assert_eq!(fs::read_to_string(agent.at("logs/a.log")).unwrap(), "first");
    }

    #[test]
    fn gaps_are_bounded() {
        let mut gaps = Gaps::default();
        for _ in 0..GAPS_MAX + 3 {
            gaps.tell(Path::new("/x"), "unreadable");
        }
        let told = gaps.told();
        assert_eq!((told.len(), told.last().unwrap().as_str()), (GAPS_MAX + 1, "and 3 more"));
    }
}
