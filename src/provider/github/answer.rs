//! Why a request brought no answer that says yes or no.

use crate::engine::call::{Answer, Fault, Liveness, Reason, Values, Why};
use crate::provider::transport::{Unanswered, chain};

/// What went wrong, in closed words.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It certainly never left.
    #[error("the request was not sent")]
    NotSent(Why),
    /// It left, and what became of it is not known.
    #[error("the answer was lost")]
    Lost(Why),
    /// Later; milliseconds where GitHub said how long.
    #[error("GitHub asked to wait")]
    Throttled(Option<u64>),
    /// GitHub, or a rule of ours, said no.
    #[error("the request was refused")]
    Refused(Why),
}

impl Failure {
    /// A rule of ours said no before anything was sent.
    pub(super) fn refused(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }

    /// As the answer to a request that changes something, or lists.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::NotSent(why) => Fault::NotSent(why),
            Self::Lost(why) => Fault::Unknown(why),
            Self::Throttled(wait) => Fault::Throttled(wait),
            Self::Refused(why) => Fault::Refused(why),
        }
    }

    /// As the answer to a probe: never a verdict.
    pub(super) fn of_probe(self) -> Answer {
        match self {
            Self::Throttled(wait) => Answer::Fault(Fault::Throttled(wait)),
            Self::NotSent(why) => Answer::Fault(Fault::NotSent(why)),
            Self::Lost(why) | Self::Refused(why) => {
                Answer::Saw(Liveness::Unclear(why), Values::new())
            }
        }
    }
}

/// octocrab wraps what its transport says.
impl From<octocrab::Error> for Failure {
    fn from(error: octocrab::Error) -> Self {
        let transport = chain(&error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
        let Some(transport) = transport else {
            // octocrab did not make a request of it.
            return Self::refused(Reason::Unexpected);
        };
        if transport.is_builder() {
            return Self::refused(Reason::Unexpected);
        }
        match Unanswered::from(transport) {
            Unanswered::NotSent(reason) => Self::NotSent(reason.into()),
            Unanswered::Lost(reason) => Self::Lost(reason.into()),
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::refused(reason)
    }
}
