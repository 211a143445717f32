//! What lives in files: `file:`, `dotenv:`, `json:` and `line:`. One writer per file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::atomic::{FolderLock, NotReplaced, Original};
use super::path::resolve;
use super::{Edit, SecretStore, Shapes, because, content, line};
use crate::engine::call::{PlaceState, Reason, Why};
use crate::inventory::SecretRef;
use crate::secret::Secret;

/// How often an edit is begun anew because somebody else changed the file meanwhile. An editor
/// saves once; who writes three times within our milliseconds is at work, and is left alone.
const BEGINNINGS: u32 = 3;

/// Files, by path. Whatever waits for a file when its writer is free goes into one edit.
pub struct FileStore(Arc<Shared>);

struct Shared {
    root: Option<PathBuf>,
    shapes: Shapes,
    /// By the file itself, links resolved; an entry means that a writer is at work.
    waiting: Mutex<BTreeMap<PathBuf, Vec<Job>>>,
    replaced: AtomicU64,
}

/// Edits of one credential in one file: all of them or none.
struct Job {
    edits: Vec<Edit>,
    answer: oneshot::Sender<Result<PlaceState, Why>>,
}

impl FileStore {
    /// With a root, paths begin there and nothing is written.
    pub fn new(root: Option<PathBuf>, shapes: Shapes) -> Self {
        Self(Arc::new(Shared {
            root,
            shapes,
            waiting: Mutex::default(),
            replaced: AtomicU64::new(0),
        }))
    }

    /// How many times a file was replaced.
    pub fn replaced(&self) -> u64 {
        self.0.replaced.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl SecretStore for FileStore {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        let (shared, from) = (Arc::clone(&self.0), from.clone());
        let read = spawn_blocking(move || shared.read(&from)).await;
        read.unwrap_or_else(|_| Err(because(Reason::Unreadable, "crashed")))
    }

    async fn check(&self, edits: &[Edit]) -> Result<(), Why> {
        let edits: Vec<Edit> = edits.iter().map(Edit::duplicate).collect();
        let shared = Arc::clone(&self.0);
        let checked = spawn_blocking(move || shared.check(&edits)).await;
        checked.unwrap_or_else(|_| Err(because(Reason::Unwritable, "crashed")))
    }

    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why> {
        let shared = Arc::clone(&self.0);
        let (answer, answered) = oneshot::channel();
        drop(spawn_blocking(move || shared.submit(Job { edits, answer })));
        // A writer that panics drops the jobs it has.
        answered.await.unwrap_or_else(|_| Err(because(Reason::Unwritable, "crashed")))
    }

    fn edits_parts(&self) -> bool {
        true
    }
}

impl Shared {
    fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        let file = resolve(&from.path, self.root.as_deref(), Reason::Unreadable)?.real;
        if from.scheme == "line" {
            let number = from.fragment.as_deref().unwrap_or_default();
            return line::read(&file, number, &self.shapes);
        }
        let original = Original::read(&file, Reason::Unreadable)?;
        content::get(&original.bytes, from)?.ok_or_else(|| because(Reason::Empty, "no-such-key"))
    }

    fn check(&self, edits: &[Edit]) -> Result<(), Why> {
        let Some(file) = self.file_of(edits)? else { return Ok(()) };
        let original = Original::read_or_none(&file)?;
        match content::edited(&original.bytes, edits)? {
            Some(_) => original.replaceable(&file),
            None => Ok(()),
        }
    }

    /// The file that all these edits are for; none if there are none.
    fn file_of(&self, edits: &[Edit]) -> Result<Option<PathBuf>, Why> {
        let Some(first) = edits.first() else { return Ok(None) };
        if self.root.is_some() {
            return Err(because(Reason::ReadOnly, "root"));
        }
        if edits.iter().any(|edit| !edit.to.is_writable()) {
            return Err(Reason::ReadOnly.into());
        }
        let resolved = resolve(&first.to.path, None, Reason::Unwritable)?;
        resolved.trusted()?;
        Ok(Some(resolved.real))
    }

    /// Does the job, or leaves it to the one who is writing that file.
    fn submit(&self, job: Job) {
        let file = match self.file_of(&job.edits) {
            Ok(Some(file)) => file,
            Ok(None) => return answer(job, Ok(PlaceState::ReadBack)),
            Err(why) => return answer(job, Err(why)),
        };
        match self.waiting().entry(file.clone()) {
            std::collections::btree_map::Entry::Occupied(mut queue) => {
                return queue.get_mut().push(job);
            }
            std::collections::btree_map::Entry::Vacant(queue) => queue.insert(vec![job]),
        };
        let writer = Writer { shared: self, file: &file };
        while let Some(jobs) = writer.next() {
            self.edit(&file, jobs);
        }
    }

    /// One edit for all jobs. One that cannot be done is left out, and the others are not.
    fn edit(&self, file: &Path, jobs: Vec<Job>) {
        let _lock = FolderLock::take(file);
        let mut verdicts = Vec::new();
        for beginning in 1..=BEGINNINGS {
            let why = match self.try_edit(file, &jobs) {
                Ok(done) => {
                    verdicts = done;
                    break;
                }
                Err(NotReplaced::Changed) if beginning < BEGINNINGS => continue,
                Err(NotReplaced::Changed) => Reason::PlaceChanged.into(),
                Err(NotReplaced::Because(why)) => why,
            };
            verdicts = jobs.iter().map(|_| Err(why.clone())).collect();
            break;
        }
        for (job, verdict) in jobs.into_iter().zip(verdicts) {
            answer(job, verdict);
        }
    }

    fn try_edit(
        &self,
        file: &Path,
        jobs: &[Job],
    ) -> Result<Vec<Result<PlaceState, Why>>, NotReplaced> {
        let original = Original::read_or_none(file).map_err(NotReplaced::Because)?;
        let mut edited: Option<Zeroizing<Vec<u8>>> = None;
        let mut verdicts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let content = edited.as_ref().unwrap_or(&original.bytes);
            verdicts.push(match content::edited(content, &job.edits) {
                Ok(None) => Ok(PlaceState::ReadBack),
                Ok(next) => {
                    edited = next;
                    Ok(PlaceState::ReadBack)
                }
                Err(why) => Err(why),
            });
        }
        let Some(edited) = edited else { return Ok(verdicts) };
        original.replace(file, &edited)?;
        self.replaced.fetch_add(1, Ordering::Relaxed);
        let Ok(now) = Original::read(file, Reason::Unreadable) else {
            let unread = verdicts.into_iter().map(|verdict| verdict.map(|_| PlaceState::Written));
            return Ok(unread.collect());
        };
        compare(&now.bytes, jobs, &mut verdicts);
        Ok(verdicts)
    }

    /// A panic elsewhere leaves the map whole: no entry is ever half written.
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<Job>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes back the verdict of every job whose values are not what was read back.
fn compare(content: &[u8], jobs: &[Job], verdicts: &mut [Result<PlaceState, Why>]) {
    for (verdict, job) in verdicts.iter_mut().zip(jobs) {
        if verdict.is_ok() && !content::holds(content, &job.edits) {
            *verdict = Err(Reason::PlaceChanged.into());
        }
    }
}

fn answer(job: Job, verdict: Result<PlaceState, Why>) {
    // Who gave up waiting will look for himself.
    let _ = job.answer.send(verdict);
}

/// The one writer of a file, for as long as jobs come.
struct Writer<'a> {
    shared: &'a Shared,
    file: &'a Path,
}

impl Writer<'_> {
    /// All jobs that wait now; none, and the file is free again, where none does.
    fn next(&self) -> Option<Vec<Job>> {
        let mut waiting = self.shared.waiting();
        let jobs = std::mem::take(waiting.get_mut(self.file)?);
        if jobs.is_empty() {
            waiting.remove(self.file);
            return None;
        }
        Some(jobs)
    }
}

impl Drop for Writer<'_> {
    /// If the writer panicked, those behind it are told, and the next one finds the file free.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.waiting().remove(self.file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_otherwise_than_written_is_not_delivered() {
        let job = |key: &str| {
            let fragment = Some(key.to_owned());
            let to = SecretRef { scheme: "dotenv".into(), path: "/e".into(), fragment, part: None };
            let edits = vec![Edit { to, old: None, new: Secret::from("new".to_owned()) }];
            Job { edits, answer: oneshot::channel().0 }
        };
        let jobs = [job("A"), job("B"), job("C")];
        let mut verdicts =
            [Ok(PlaceState::ReadBack), Ok(PlaceState::ReadBack), Err(Reason::Unwritable.into())];
        compare(b"A=new\nB=other\nC=other\n", &jobs, &mut verdicts);
        let expected = [
            Ok(PlaceState::ReadBack),
            Err(Reason::PlaceChanged.into()),
            Err(Reason::Unwritable.into()),
        ];
        assert_eq!(verdicts, expected);
    }
}
