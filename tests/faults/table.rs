//! The table: all cells, side by side, and what each must come to.

use std::collections::VecDeque;
use std::env;
use std::io::Write as _;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::cell::{Ran, run};
use crate::fault::{Blow, Fault};
use crate::site::{Site, all};

/// Runs at once: those whose fault keeps them waiting, and those that work.
const WAITING: usize = 12;
const WORKING: usize = 5;

struct Job<'a> {
    site: &'a dyn Site,
    number: usize,
    blow: Option<Blow>,
}

struct Done<'a> {
    site: &'a dyn Site,
    blow: Option<Blow>,
    ran: Ran,
    took: f64,
}

/// Whether a run of it mostly waits.
fn waits(blow: Option<Blow>) -> bool {
    blow.is_some_and(|blow| matches!(blow.fault, Fault::HalfOpen | Fault::AnswerWithheld))
}

fn jobs(sites: &[Box<dyn Site>]) -> [VecDeque<Job<'_>>; 2] {
    let mut of_site: Vec<_> = sites
        .iter()
        .map(|site| {
            let blows = Blow::all(site.verbs());
            let blows = [None].into_iter().chain(blows.into_iter().map(Some));
            let blows = blows.filter(|blow| wanted(site.name(), *blow));
            (site.as_ref(), blows.collect::<VecDeque<_>>())
        })
        .collect();
    let mut jobs = [VecDeque::new(), VecDeque::new()];
    let mut number = 0;
    // One of each server in turn, so that none has all of the load.
    while of_site.iter().any(|(_, blows)| !blows.is_empty()) {
        for (site, blows) in &mut of_site {
            let Some(blow) = blows.pop_front() else { continue };
            number += 1;
            jobs[usize::from(!waits(blow))].push_back(Job { site: *site, number, blow });
        }
    }
    jobs
}

/// `ROTATE_FAULTS=WordPress/issue/half` runs the cells that have all of these in their names.
fn wanted(site: &str, blow: Option<Blow>) -> bool {
    let Ok(only) = env::var("ROTATE_FAULTS") else { return true };
    let name =
        blow.map_or("undisturbed".to_owned(), |blow| format!("{}/{}", blow.verb, blow.name()));
    only.split('/').all(|part| format!("{site}/{name}").contains(part))
}

#[test]
fn every_fault_at_every_verb_of_every_server() {
    let sites = all();
    let begun = Instant::now();
    let (waiting, working) = {
        let [waiting, working] = jobs(&sites);
        (Mutex::new(waiting), Mutex::new(working))
    };
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..WAITING + WORKING {
            let queue = if number < WAITING { &waiting } else { &working };
            let done = &done;
            scope.spawn(move || {
                loop {
                    let Some(job) = queue.lock().unwrap().pop_front() else { break };
                    let begun = Instant::now();
                    let ran = run(job.site, job.number, job.blow);
                    let took = begun.elapsed().as_secs_f64();
                    done.lock().unwrap().push(Done { site: job.site, blow: job.blow, ran, took });
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    let mut text = String::new();
    for one in &done {
        let name =
            one.blow.map_or("undisturbed".to_owned(), |b| format!("{}/{}", b.verb, b.name()));
        text += &format!(
            "{}/{name}: {} (revoke {}, struck {}, revoked at {:?}, {:.1} s)\n",
            one.site.name(),
            one.ran.words(),
            one.ran.revoke,
            one.ran.struck,
            one.ran.revoked_at,
            one.took
        );
        for wrong in &one.ran.violations {
            text += &format!("   VIOLATION {wrong}\n{}\n{}\n", one.ran.table, one.ran.stderr);
        }
    }
    let mut err = std::io::stderr();
    let _ = writeln!(err, "{text}\n{} cells in {:?}", done.len(), begun.elapsed());
    assert!(done.iter().all(|one| one.ran.violations.is_empty()));
}
