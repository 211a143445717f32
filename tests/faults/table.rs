//! The table: all cells, side by side, and what each must come to.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::cell::{self, Ran};
use crate::fault::{Blow, Fault, Times};
use crate::site::{ISSUE, Site, all};
use crate::{page, strangers, take_over};

/// Runs at once: those whose fault keeps them waiting, and those that work.
const WAITING: usize = 24;
const WORKING: usize = 10;

/// One run, or two of which the second takes over from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scene {
    Contain(Option<Blow>),
    /// A rehearsal stands at this call, or has been killed there.
    TakeOver {
        at: Blow,
        killed: bool,
    },
    /// Somebody else makes one in the middle of it, and it is ended where the run was asked to.
    Stranger {
        ends: bool,
    },
}

struct Job<'a> {
    site: &'a dyn Site,
    number: usize,
    scene: Scene,
}

/// A cell of the table.
pub(crate) struct Done<'a> {
    pub(crate) site: &'a dyn Site,
    pub(crate) scene: Scene,
    pub(crate) ran: Ran,
    pub(crate) took: Duration,
}

impl Scene {
    /// Every one at a server.
    fn all(site: &dyn Site) -> VecDeque<Self> {
        let struck = Blow::all(site.verbs()).into_iter().map(|blow| Self::Contain(Some(blow)));
        let mut all: VecDeque<_> = [Self::Contain(None)].into_iter().chain(struck).collect();
        for (verb, _) in site.verbs() {
            for fault in [Fault::HalfOpen, Fault::AnswerWithheld] {
                let at = Blow { verb, fault, times: Times::Once };
                all.extend([false, true].map(|killed| Self::TakeOver { at, killed }));
            }
        }
        let listed = [false, true].into_iter().filter(|_| site.lists());
        all.extend(listed.map(|ends| Self::Stranger { ends }));
        all.retain(|scene| wanted(&format!("{}/{}", site.name(), scene.name())));
        all
    }

    /// Whether a run of it mostly waits.
    fn waits(self) -> bool {
        // An answer that was lost is looked for 30 s later: lists lag.
        let looks_later = |blow: Blow| blow.verb == ISSUE && blow.fault.leaves_open();
        matches!(self, Self::Contain(Some(blow)) if blow.fault.is_silent() || looks_later(blow))
    }

    fn name(self) -> String {
        match self {
            Self::Contain(None) => "undisturbed".to_owned(),
            Self::Contain(Some(blow)) => format!("{}/{}", blow.verb, blow.name()),
            Self::Stranger { ends: true } => "stranger/ended".to_owned(),
            Self::Stranger { ends: false } => "stranger/told".to_owned(),
            Self::TakeOver { at, killed } => {
                let how = if killed { "killed" } else { "standing" };
                format!("take-over/{}/{}/{how}", at.verb, at.fault.name())
            }
        }
    }
}

impl Job<'_> {
    fn run(&self) -> Option<Ran> {
        match self.scene {
            Scene::Contain(blow) => Some(cell::run(self.site, self.number, blow)),
            Scene::TakeOver { at, killed } => take_over::run(self.site, self.number, at, killed),
            Scene::Stranger { ends } => strangers::run(self.site, self.number, ends),
        }
    }
}

fn jobs(sites: &[Box<dyn Site>]) -> [VecDeque<Job<'_>>; 2] {
    let mut of_site: Vec<_> =
        sites.iter().map(|site| (site.as_ref(), Scene::all(&**site))).collect();
    let mut jobs = [VecDeque::new(), VecDeque::new()];
    let mut number = 0;
    // One of each server in turn, so that none has all of the load.
    while of_site.iter().any(|(_, scenes)| !scenes.is_empty()) {
        for (site, scenes) in &mut of_site {
            let Some(scene) = scenes.pop_front() else { continue };
            number += 1;
            jobs[usize::from(!scene.waits())].push_back(Job { site: *site, number, scene });
        }
    }
    jobs
}

/// `ROTATE_FAULTS='WordPress|AWS/issue/half'` runs the cells that have all of these in their names,
/// of each one or the other.
fn wanted(name: &str) -> bool {
    let Ok(only) = env::var("ROTATE_FAULTS") else { return true };
    only.split('/').all(|part| part.split('|').any(|part| name.contains(part)))
}

/// What is still to be done, and how many runs every server has at the moment.
struct Queue<'a> {
    jobs: VecDeque<Job<'a>>,
    under_way: BTreeMap<&'static str, usize>,
}

impl<'a> Queue<'a> {
    /// The first whose server bears one more; none where all is done.
    fn take(queue: &Mutex<Self>) -> Option<Job<'a>> {
        loop {
            let mut queue = queue.lock().unwrap();
            if queue.jobs.is_empty() {
                return None;
            }
            let free = |job: &Job<'_>| {
                queue.under_way.get(job.site.name()).copied().unwrap_or(0) < job.site.bears()
            };
            if let Some(at) = queue.jobs.iter().position(free) {
                let job = queue.jobs.remove(at)?;
                *queue.under_way.entry(job.site.name()).or_default() += 1;
                return Some(job);
            }
            drop(queue);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn done(queue: &Mutex<Self>, site: &dyn Site) {
        *queue.lock().unwrap().under_way.entry(site.name()).or_default() -= 1;
    }
}

#[test]
fn every_fault_at_every_verb_of_every_server() {
    let sites = all();
    let begun = Instant::now();
    let queues = jobs(&sites).map(|jobs| Mutex::new(Queue { jobs, under_way: BTreeMap::new() }));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..WAITING + WORKING {
            let queue = &queues[usize::from(number >= WAITING)];
            let done = &done;
            scope.spawn(move || {
                while let Some(job) = Queue::take(queue) {
                    let begun = Instant::now();
                    let ran = catch_unwind(AssertUnwindSafe(|| job.run()));
                    Queue::done(queue, job.site);
                    let Job { site, scene, .. } = job;
                    // A panic has said what it was: the other cells are worth their table all the
                    // same.
                    if let Some(ran) = ran.unwrap_or_else(|_| Some(Ran::broken())) {
                        let one = Done { site, scene, ran, took: begun.elapsed() };
                        one.tell();
                        done.lock().unwrap().push(one);
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    let page = page::of(&sites, &done);
    let _ = writeln!(std::io::stderr(), "{page}\n{:?}", begun.elapsed());
    if env::var_os("ROTATE_WRITE_DOCS").is_some() {
        page::write(&page);
    }
    let wrong = done.iter().filter(|one| !one.ran.violations.is_empty()).count();
    assert_eq!(wrong, 0, "cells of which something that must hold does not");
}

impl Done<'_> {
    /// Says what is wrong at once, so that nobody has to wait for the end.
    fn tell(&self) {
        if !self.ran.violations.is_empty() {
            // Not `eprintln!`, which the harness keeps to itself until the end.
            let _ = writeln!(std::io::stderr(), "{}", self.in_full());
        }
    }

    fn in_full(&self) -> String {
        let ran = &self.ran;
        format!(
            "{}/{}: {} (revoke {}, struck {}, first revocation {:?}, took {:?})\n{}\n{}\n{}\n",
            self.site.name(),
            self.scene.name(),
            ran.words(),
            ran.revoke,
            ran.struck,
            ran.revoked_at,
            self.took,
            ran.violations.join("\n"),
            ran.table,
            ran.stderr,
        )
    }
}
