//! What happens while it happens: live lines on a terminal, plain lines otherwise, on stderr.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use super::terminal::{self, Look, clean};
use crate::engine::report::Stamp;

/// More live lines than this scroll off a terminal of 24 rows, which redraws what it cannot see.
const LIVE_LINES: usize = 16;

/// A spinner that turns four times a second is seen to live, and costs nothing over a slow line.
const TURN: Duration = Duration::from_millis(250);

/// One credential, or one role, has moved.
pub(crate) struct Line {
    /// When.
    pub(crate) at: Stamp,
    /// `ROLE/NAME` of a credential; a role's name for what is done to a role.
    pub(crate) id: String,
    /// What was done: `revoke`, `issue`.
    pub(crate) step: String,
    /// What came of it: `accepted`, `refused`.
    pub(crate) state: String,
}

/// Shows how far a run has come. A copy shows on the same lines.
#[derive(Clone)]
pub(crate) struct Watch {
    zone: TimeZone,
    live: Option<Arc<Mutex<Live>>>,
}

struct Live {
    all: MultiProgress,
    lines: BTreeMap<String, ProgressBar>,
}

impl Watch {
    /// Live where somebody watches.
    pub(crate) fn new(look: &Look) -> Self {
        let live =
            || Arc::new(Mutex::new(Live { all: MultiProgress::new(), lines: BTreeMap::new() }));
        Self { zone: look.zone.clone(), live: look.terminal.then(live) }
    }

    /// The run has a name and its plan is written: what a person needs to find it again, and to
    /// show later that its journal is the one begun here.
    pub(crate) fn begin(&self, run: &str, first_hash: &str) {
        self.line(&format!("run {} journal {}", clean(run), clean(first_hash)));
    }

    /// Something has moved.
    pub(crate) fn show(&self, moved: &Line) {
        let text = plain(moved, &self.zone);
        let Some(live) = &self.live else { return terminal::say(&text) };
        lock(live).show(moved, &text);
    }

    /// A line for people, above whatever is live.
    pub(crate) fn line(&self, text: &str) {
        let Some(live) = &self.live else { return terminal::say(text) };
        lock(live).above(text);
    }

    /// A question to a person: `text` above whatever is live, where it can be copied whole, and
    /// `waiting` among the live lines until what is returned is dropped.
    pub(crate) fn question(&self, text: &str, waiting: &str) -> Question {
        self.line(text);
        let bar = self.live.as_ref().map(|live| lock(live).wait(waiting));
        Question { bar }
    }

    /// The reader's zone.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The run is over: live lines stay as they are, above the report.
    pub(crate) fn end(&self) {
        let Some(live) = &self.live else { return };
        for bar in lock(live).lines.values() {
            bar.abandon();
        }
    }
}

/// A question that a person has been asked.
pub(crate) struct Question {
    bar: Option<ProgressBar>,
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Live {
    fn wait(&self, text: &str) -> ProgressBar {
        let bar = spinner(&self.all);
        bar.set_message(text.to_owned());
        bar
    }

    fn show(&mut self, moved: &Line, text: &str) {
        if !self.lines.contains_key(&moved.id) && self.lines.len() >= LIVE_LINES {
            return self.above(text);
        }
        let bar = self.lines.entry(moved.id.clone()).or_insert_with(|| spinner(&self.all));
        bar.set_message(text.to_owned());
    }

    fn above(&self, text: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.all.println(text);
    }
}

fn spinner(all: &MultiProgress) -> ProgressBar {
    let bar = all.add(ProgressBar::new_spinner().with_style(style()));
    bar.enable_steady_tick(TURN);
    bar
}

/// `12:00:01.234 mail-agent/openai  revoke  accepted`, by the reader's clock.
fn plain(moved: &Line, zone: &TimeZone) -> String {
    format!(
        "{} {}  {}  {}",
        clock(moved.at, zone),
        clean(&moved.id),
        clean(&moved.step),
        clean(&moved.state)
    )
}

fn clock(stamp: Stamp, zone: &TimeZone) -> String {
    stamp.timestamp().to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A panic while drawing leaves a line half drawn, and nothing else broken.
fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::call::Wall;

    #[test]
    fn a_plain_line_has_time_name_step_and_state() {
        let moved = Line {
            at: Stamp(Wall(1_795_339_801_234)),
            id: "mail-agent/openai".to_owned(),
            step: "revoke".to_owned(),
            state: "accepted\u{1b}[1m".to_owned(),
        };
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let line = "10:30:01.234 mail-agent/openai  revoke  accepted\u{fffd}[1m";
        assert_eq!(plain(&moved, &zone), line);
    }
}
