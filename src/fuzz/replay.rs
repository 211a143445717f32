//! Events of a journal, as a resume takes them. A line that begins with `[` is one in JSON, with
//! the milliseconds since the last: `[20,{"wall":1,"what":"tick"}]`. Of any other line each two
//! bytes are one: which call is answered, or what else happens, and how.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{options, resolved};
use crate::engine::call::{
    Answer, CallId, Event, Fault, Holding, Identity, Liveness, Reason, Row, Subject, Time, Told,
    Values, Wall, What,
};
use crate::engine::plan::{Options, Plan};
use crate::engine::run::Run;
use crate::inventory::Inventory;

/// More events than a run has in which everything goes wrong once.
const EVENTS_MAX: usize = 200;

/// No event brings down a run: it is refused, and nothing has changed, or it is believed; the same
/// events make the same run, and what is kept of it in JSON is all of it.
pub fn replay(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let plans = plans();
    let plan = &plans[usize::from(*first) % plans.len()];
    let mut play = Play::new(plan.clone());
    for line in rest.split(|byte| *byte == b'\n') {
        if line.starts_with(b"[") {
            if let Ok((after, event)) = serde_json::from_slice::<(u64, Event)>(line) {
                play.event(after, event);
            }
        } else {
            line.chunks_exact(2).for_each(|two| play.step(two[0], two[1]));
        }
    }
    let Play { run, events, .. } = play;
    let mut again = Run::new(plan.clone());
    crate::drive::replay(&mut again, events).unwrap();
    assert!(again == run, "the same events make another run");
    let kept: Run = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
    assert!(kept == run, "kept otherwise");
    assert_eq!(kept.report(), run.report());
}

/// A run, and the calls under way in it.
struct Play {
    run: Run,
    open: Vec<CallId>,
    events: Vec<(Time, Event)>,
}

impl Play {
    fn new(plan: Plan) -> Self {
        let mut play = Self { run: Run::new(plan), open: Vec::new(), events: Vec::new() };
        play.event(0, Event { wall: Wall(0), what: What::Started });
        play
    }

    fn event(&mut self, after: u64, mut event: Event) {
        if self.events.len() >= EVENTS_MAX {
            return;
        }
        if let What::Answered(id, _) = &mut event.what {
            let there = self.open.contains(id) || id.0 == 0 || self.open.is_empty();
            if !there {
                *id = self.open[id.0 as usize % self.open.len()];
            }
        }
        let at = Time(self.run.now().0.saturating_add(after));
        let before = self.run.now();
        match self.run.handle(at, event.clone()) {
            Ok(()) => {
                if let What::Answered(id, _) = &event.what {
                    self.open.retain(|open| open != id);
                }
                self.events.push((at, event));
            }
            Err(_) => assert_eq!(self.run.now(), before, "refused, and time went on"),
        }
        while let Some((id, _)) = self.run.poll() {
            assert!(!self.open.contains(&id), "two calls have one number");
            self.open.push(id);
        }
        assert!(self.run.wake().is_none_or(|wake| wake >= self.run.now()));
    }

    fn step(&mut self, which: u8, how: u8) {
        let after = [0, 1, 20, 500, 2_000, 30_000, 3_600_000][usize::from(how >> 5) % 7];
        let due = self.run.wake().map_or(0, |wake| wake.since(self.run.now()));
        let (after, what) = match which {
            0xff => (after, What::Told(Told::Stop)),
            0xfe => (after, What::Resumed),
            0xfd => (after, What::Told(Told::HandDone(Subject(u32::from(how))))),
            0xfc => (after, What::Told(Told::JournalLost)),
            0xe0..0xfc => (due, What::Tick),
            _ if self.open.is_empty() => (due, What::Tick),
            _ => {
                let id = self.open[usize::from(which) % self.open.len()];
                (after, What::Answered(id, answer(how & 31)))
            }
        };
        self.event(after, Event { wall: Wall(0), what });
    }
}

fn answer(which: u8) -> Answer {
    let saw = |liveness| Answer::Saw(liveness, Values::new());
    let named = |name: &str| Values::from([("handle".to_owned(), name.into())]);
    let holding = |name: &str| Holding { fingerprint: format!("of-{name}"), public: named(name) };
    let row = |handle: &str, hinted| Row {
        handle: handle.to_owned(),
        hinted,
        label: Some("rotate-ab12cd-fuzz-1".to_owned()),
        ..Row::default()
    };
    let found = |rows, complete| Answer::Found { rows, complete };
    match which {
        0 | 1 => Answer::Held(holding("key_1")),
        2 => Answer::Held(Holding { fingerprint: "of-key_1".to_owned(), public: Values::new() }),
        3 | 4 => saw(Liveness::Alive(Identity("acct_1".to_owned()))),
        5 => saw(Liveness::Alive(Identity("acct_2".to_owned()))),
        6..=8 => saw(Liveness::Dead { by_name: true }),
        9 => saw(Liveness::Dead { by_name: false }),
        10 => saw(Liveness::Restricted(Identity("acct_1".to_owned()))),
        11 => saw(Liveness::Unclear(Reason::NoClass.into())),
        12 => found(Vec::new(), true),
        13 => found(vec![row("key_1", true)], true),
        14 => found(vec![row("key_1", true), row("key_2", false)], true),
        15 => found(vec![row("key_3", false)], false),
        16 | 17 => Answer::Issued(holding("key_2")),
        18 => Answer::Issued(Holding { fingerprint: String::new(), public: Values::new() }),
        19 => Answer::Took(named("key_1")),
        20 => Answer::Placed(Vec::new()),
        21 | 22 => Answer::Done,
        23 => Answer::Gone,
        24 => Answer::Fault(Fault::NotSent(Reason::Connect.into())),
        25 => Answer::Fault(Fault::Unknown(Reason::Reset.into())),
        26 => Answer::Fault(Fault::Throttled(None)),
        27 => Answer::Fault(Fault::Throttled(Some(u64::MAX))),
        28 => Answer::Fault(Fault::Refused(Reason::Empty.into())),
        29 => Answer::Fault(Fault::Refused(Reason::ActorRefused.into())),
        30 => Answer::Fault(Fault::Refused(Reason::Unsupported.into())),
        _ => Answer::Saved { archive: "/a".to_owned(), sha256: "0".to_owned(), gaps: Vec::new() },
    }
}

/// Plans of the example inventory, in each mode.
fn plans() -> &'static [Plan] {
    static PLANS: OnceLock<Vec<Plan>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let text = include_str!("../../inventory.example.toml").replace("\n#: ", "\n");
        let mut inventory = Inventory::parse(&text).unwrap();
        let known = super::catalog().resolve(&inventory.providers, &super::clients(), super::now());
        known.check(&mut inventory, &text);
        let all: Vec<String> = inventory.roles.keys().cloned().collect();
        let capabilities = &known.capabilities;
        let patient = Options { deliver: true, wait_ms: Some(60_000), ..options() };
        let only = Options { revoke_only: true, revoke_strangers: true, ..options() };
        let mut plans = Vec::new();
        for options in [options(), patient, only] {
            plans.extend(Plan::contain(&inventory, capabilities, &all, &options).ok());
        }
        plans.extend(Plan::rehearse(&inventory, capabilities, &all, &options()).ok());
        for role in &all {
            let one = std::slice::from_ref(role);
            plans.extend(Plan::contain(&inventory, capabilities, one, &options()).ok());
            plans.extend(Plan::rehearse(&inventory, capabilities, one, &options()).ok());
        }
        let verify = Plan::verify(&plans[0], &BTreeMap::new(), &options());
        plans.push(verify);
        assert!(plans.len() > 4 && resolved().problems.is_empty());
        plans
    })
}
