//! What an answer means.

use serde::{Deserialize, Serialize};

use crate::engine::call::{Answer, Fault, Holding, Liveness, Reason, Values, Why};

/// A JSON string or number as text: handles are either.
pub(in crate::engine) fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Layers of a probe: alive if any is, dead if all are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct Layers {
    /// The layer to ask next.
    pub(in crate::engine) next: u16,
    /// Every layer so far refused, each by name.
    pub(in crate::engine) by_name: bool,
    /// At least one layer refused.
    pub(in crate::engine) refused: bool,
    /// A layer was not clear.
    pub(in crate::engine) unclear: Option<Why>,
}

impl Layers {
    /// Before the first layer.
    pub(in crate::engine) fn new() -> Self {
        Self { next: 0, by_name: true, refused: false, unclear: None }
    }

    /// Takes the answer of one layer of `count`; the probe's own answer once it is certain.
    pub(in crate::engine) fn take(&mut self, seen: Liveness, count: u16) -> Option<Liveness> {
        self.next += 1;
        match seen {
            Liveness::Alive(_) | Liveness::Restricted(_) => return Some(seen),
            Liveness::Dead { by_name } => {
                self.refused = true;
                self.by_name &= by_name;
            }
            Liveness::Unclear(why) if why.reason == Reason::NoSuchPart && count > 1 => {}
            Liveness::Unclear(why) => self.unclear = Some(why),
        }
        if self.next < count {
            return None;
        }
        Some(match (self.unclear.take(), self.refused) {
            (Some(why), _) => Liveness::Unclear(why),
            (None, true) => Liveness::Dead { by_name: self.by_name },
            (None, false) => Liveness::Unclear(Reason::MissingValue.into()),
        })
    }
}

/// What an answer means for the step of a verb.
#[derive(Debug, PartialEq)]
pub(in crate::engine) enum Outcome {
    /// Done; take these.
    Done(Values),
    /// Done before us.
    Gone,
    /// Done, and bytes came with it.
    Brought(Holding),
    /// Certainly not sent.
    NotSent(Why),
    /// Told to wait: the run sees to it.
    Throttled,
    /// Perhaps done.
    Lost(Why),
    /// Refused.
    Refused(Why),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done
            | Answer::Placed(_)
            | Answer::PlacedInPart { .. }
            | Answer::Saved { .. }
            | Answer::Scanned(_) => Self::Done(Values::new()),
            Answer::Took(values) | Answer::Saw(_, values) => Self::Done(values),
            Answer::Found { .. } => Self::Done(Values::new()),
            Answer::Held(holding) | Answer::Issued(holding) => Self::Brought(holding),
            Answer::Gone => Self::Gone,
            Answer::Fault(Fault::NotSent(why)) => Self::NotSent(why),
            Answer::Fault(Fault::Throttled(_)) => Self::Throttled,
            Answer::Fault(Fault::Unknown(why)) => Self::Lost(why),
            Answer::Fault(Fault::Refused(why)) => Self::Refused(why),
        }
    }
}

/// What a probe saw, whatever form the answer came in.
pub(in crate::engine) fn liveness(answer: Answer) -> (Liveness, Values) {
    match answer {
        Answer::Saw(seen, values) => (seen, values),
        Answer::Fault(Fault::NotSent(why) | Fault::Unknown(why) | Fault::Refused(why)) => {
            (Liveness::Unclear(why), Values::new())
        }
        Answer::Fault(Fault::Throttled(_)) => {
            (Liveness::Unclear(Reason::Timeout.into()), Values::new())
        }
        _ => (Liveness::Unclear(Reason::Unexpected.into()), Values::new()),
    }
}
