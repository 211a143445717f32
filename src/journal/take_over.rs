//! A contain takes a role from a rehearsal or a restore: first by a word, then by a signal.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal};

use super::inbox::Message;
use super::lock::{Holder, LockError, RoleLock, host};
use super::state::State;

/// How long a rehearsal may take to stop by itself: one answer of a provider, and one write.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after SIGTERM the process is killed. A rehearsal that dies is resumable or adopted,
/// so nothing is lost by haste.
const TERMINATED: Duration = Duration::from_secs(1);

/// What has not died of SIGKILL after this long hangs in the kernel, where it does nothing either.
const KILLED: Duration = Duration::from_secs(2);

/// How often the kernel's list of locks is read for a line that must stand in it.
const READINGS: u32 = 20;

/// A role on its way from a rehearsal to a contain.
pub struct TakeOver<'a> {
    state: &'a State,
    role: String,
    me: Holder,
    taken: Option<RoleLock>,
    /// Whose lock it is, and a handle on that very process where it can be ended from here.
    rehearsal: Option<(Holder, Option<Process>)>,
}

impl State {
    /// Begins to take a role, also from a rehearsal that holds it: tells that one to stop. The
    /// caller then asks [`TakeOver::poll`], every 20 ms or so, until it has the lock.
    ///
    /// # Errors
    /// [`LockError::Held`] where the holder is neither a rehearsal nor a restore.
    pub fn take_over(&self, role: &str, me: &Holder) -> Result<TakeOver<'_>, LockError> {
        let mut take_over = TakeOver {
            state: self,
            role: role.to_owned(),
            me: me.clone(),
            taken: None,
            rehearsal: None,
        };
        take_over.taken = take_over.try_lock()?;
        Ok(take_over)
    }
}

impl TakeOver<'_> {
    /// The rehearsal that has, or had, the role; its run is to be adopted.
    pub fn rehearsal(&self) -> Option<&Holder> {
        self.rehearsal.as_ref().map(|(holder, _)| holder)
    }

    /// The lock, once it is ours. `waited` is the time since [`State::take_over`]: after 2 s the
    /// rehearsal gets SIGTERM, a second later SIGKILL.
    ///
    /// # Errors
    /// [`LockError::Held`] where the role went to somebody else, or the rehearsal neither stops by
    /// itself nor can be ended: it is on another host, or runs in this very process.
    pub fn poll(&mut self, waited: Duration) -> Result<Option<RoleLock>, LockError> {
        if let Some(lock) = self.taken.take() {
            return Ok(Some(lock));
        }
        if let Some(lock) = self.try_lock()? {
            return Ok(Some(lock));
        }
        let hope = match &mut self.rehearsal {
            _ if waited < PATIENCE => true,
            Some((_, Some(process))) => process.urge(waited),
            _ => false,
        };
        if hope {
            return Ok(None);
        }
        let holder = self.rehearsal().cloned().map(Box::new);
        Err(LockError::Held { role: self.role.clone(), holder })
    }

    fn try_lock(&mut self) -> Result<Option<RoleLock>, LockError> {
        let (role, holder) = match self.state.lock(&self.role, &self.me) {
            Ok(lock) => return Ok(Some(lock)),
            // Locked, and not yet written down: the next poll knows.
            Err(LockError::Held { holder: None, .. }) => return Ok(None),
            Err(LockError::Held { role, holder: Some(holder) }) => (role, holder),
            Err(other) => return Err(other),
        };
        if self.rehearsal().is_some_and(|known| *known == *holder) {
            return Ok(None);
        }
        if !holder.gives_way() {
            return Err(LockError::Held { role, holder: Some(holder) });
        }
        let process = Process::holding(self.state, &role, &holder);
        // It may have closed its journal, or have none on disk: then the signal does it.
        let _ = self.state.tell(&holder.run, &Message::TakeOver);
        self.rehearsal = Some((*holder, process));
        Ok(None)
    }
}

impl Holder {
    /// Whether its run stops for a contain: a rehearsal, and a restore, which brings back what is
    /// burned by now. Either goes on from its journal, or is taken in.
    pub(crate) fn gives_way(&self) -> bool {
        matches!(self.mode.as_str(), "rehearse" | "restore")
    }
}

/// The process that holds a lock. On Linux by a descriptor, so that a number that was given
/// away again can never be hit.
struct Process {
    pid: Pid,
    #[cfg(target_os = "linux")]
    descriptor: Option<rustix::fd::OwnedFd>,
    /// The last signal, and when.
    sent: Option<(Signal, Duration)>,
}

impl Process {
    /// None if the process named in the lock file is not the one that holds the lock: the file
    /// may have been written by one that is dead, or in another process namespace.
    fn holding(state: &State, role: &str, holder: &Holder) -> Option<Self> {
        if holder.host != host() || holder.pid == std::process::id() {
            return None;
        }
        let pid = Pid::from_raw(holder.pid.try_into().ok()?)?;
        #[cfg(target_os = "linux")]
        let descriptor =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
        let path = state.lock_path(role)?;
        let inode = fs::metadata(path).ok()?.ino();
        // Read after the descriptor was opened: a process that still holds the lock is that one.
        if !is_held(|| fs::read_to_string("/proc/locks"), holder.pid, inode) {
            return None;
        }
        Some(Self {
            pid,
            #[cfg(target_os = "linux")]
            descriptor,
            sent: None,
        })
    }

    /// Sends the next signal once the last one has had its time, however late somebody asks. False
    /// if none may be sent, or none is left.
    fn urge(&mut self, now: Duration) -> bool {
        let next = match self.sent {
            None => Signal::TERM,
            Some((Signal::TERM, at)) if now >= at + TERMINATED => Signal::KILL,
            Some((Signal::TERM, _)) => return true,
            Some((_, at)) => return now < at + KILLED,
        };
        self.sent = Some((next, now));
        // Gone already: its lock is free by the next poll.
        matches!(self.send(next), Ok(()) | Err(rustix::io::Errno::SRCH))
    }

    #[cfg(target_os = "linux")]
    fn send(&self, signal: Signal) -> rustix::io::Result<()> {
        match &self.descriptor {
            Some(descriptor) => rustix::process::pidfd_send_signal(descriptor, signal),
            None => rustix::process::kill_process(self.pid, signal),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&self, signal: Signal) -> rustix::io::Result<()> {
        rustix::process::kill_process(self.pid, signal)
    }
}

/// Whether a process holds a `flock` on an inode, as far as the kernel's list can be read. The list
/// changes while it is read where others lock and unlock all the time, and may then lack a line.
fn is_held(list: impl Fn() -> io::Result<String>, pid: u32, inode: u64) -> bool {
    (0..READINGS).any(|_| list().map_or(true, |locks| holds(&locks, pid, inode)))
}

/// Whether `/proc/locks` (see proc(5)) says that a process holds a `flock` on an inode.
/// `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`
fn holds(locks: &str, pid: u32, inode: u64) -> bool {
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, holder, place, ..] = words.as_slice() else { return false };
        holder.parse() == Ok(pid)
            && place.rsplit(':').next().and_then(|last| last.parse().ok()) == Some(inode)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const OTHERS: &str = "1: POSIX  ADVISORY  WRITE 77 00:1c:9 0 EOF\n";

    #[test]
    fn a_line_that_one_reading_missed_is_found_by_the_next() {
        let read = Cell::new(0);
        let list = || {
            read.set(read.get() + 1);
            let line = "2: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF\n";
            Ok(if read.get() < 3 { OTHERS.to_owned() } else { OTHERS.to_owned() + line })
        };
        assert!(is_held(list, 1234, 5678));
        assert_eq!(read.get(), 3);
    }

    #[test]
    fn who_is_never_listed_holds_nothing_and_a_list_that_nobody_may_read_says_nothing() {
        assert!(!is_held(|| Ok(OTHERS.to_owned()), 1234, 5678));
        assert!(is_held(|| Err(io::Error::other("no /proc here")), 1234, 5678));
    }
}
