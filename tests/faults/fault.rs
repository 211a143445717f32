//! What goes wrong on the way, and when.

use std::time::Duration;

use crate::message::Speaks;

/// Longer than a contain looks at an old one before it revokes it.
pub(crate) const LATE: Duration = Duration::from_millis(2_500);

/// A dripping answer comes in so many pieces, this long apart.
pub(crate) const DRIP: (usize, Duration) = (25, Duration::from_millis(100));

/// What a reset leaves of an answer: `HTTP/1.1 `, and a byte of RESP's shortest.
pub(crate) const FIRST_BYTES: usize = 9;

/// A request is struck by one of these. Whether the server has done what was asked stands in
/// [`Fault::executes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The answer comes after [`LATE`].
    Late,
    /// The answer comes byte by byte.
    Drip,
    /// The connection is reset, and the server never heard the request.
    ResetBefore,
    /// The server did it; the connection is reset after [`FIRST_BYTES`] of its answer.
    ResetEarly,
    /// The same after half of the answer.
    ResetHalfway,
    /// The server did it; the connection ends in good order without a byte.
    AnswerDropped,
    /// The server did it, and the connection stays open without a byte.
    AnswerWithheld,
    /// The request is taken, and nothing else ever happens.
    HalfOpen,
    /// 429, and after how many seconds to come again.
    Throttled(Option<u32>),
    /// 503, likewise.
    Unavailable(Option<u32>),
    /// 200 and no JSON; the server never heard the request.
    Garbage,
    /// The server did it, and what comes back says 200 and breaks off in the middle of its JSON.
    Garbled,
    /// A page that asks whether one is human, with this status.
    BlockPage(u16),
    /// The connection is reset; the next two are answered with a certificate that nobody vouches
    /// for.
    Impostor,
    /// The connection is reset; the next two are cut in the middle of the handshake.
    HandshakeCut,
}

use Fault::{
    AnswerDropped, AnswerWithheld, BlockPage, Drip, Garbage, Garbled, HalfOpen, HandshakeCut,
    Impostor, Late, ResetBefore, ResetEarly, ResetHalfway, Throttled, Unavailable,
};

/// How often a fault strikes requests of its verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Times {
    /// The first one.
    Once,
    /// Every one.
    Always,
}

/// One fault at one verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blow {
    pub(crate) verb: &'static str,
    pub(crate) fault: Fault,
    pub(crate) times: Times,
}

impl Fault {
    /// What strikes the first request of a verb.
    const ONCE: [Self; 17] = [
        Late,
        Drip,
        ResetBefore,
        ResetEarly,
        ResetHalfway,
        AnswerDropped,
        AnswerWithheld,
        HalfOpen,
        Throttled(None),
        Throttled(Some(1)),
        Unavailable(None),
        Unavailable(Some(1)),
        Garbage,
        Garbled,
        BlockPage(200),
        BlockPage(403),
        Impostor,
    ];

    /// What strikes every request of a verb.
    const ALWAYS: [Self; 6] =
        [ResetBefore, AnswerDropped, HalfOpen, Throttled(None), Unavailable(None), BlockPage(403)];

    /// What strikes every connection to a server, whatever it carries.
    const CONNECTIONS: [Self; 2] = [Impostor, HandshakeCut];

    /// Whether the server has done what was asked.
    pub(crate) fn executes(self) -> bool {
        matches!(
            self,
            Late | Drip | ResetEarly | ResetHalfway | AnswerDropped | AnswerWithheld | Garbled
        )
    }

    /// Whether nothing comes back, for as long as anybody waits.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, HalfOpen | AnswerWithheld)
    }

    /// Whether nobody who hears what comes back of it can know what was done.
    pub(crate) fn leaves_open(self) -> bool {
        !matches!(self, Late | Drip | Throttled(_) | BlockPage(403))
    }

    /// Whether it lies in what TLS protects.
    pub(crate) fn is_of_tls(self) -> bool {
        matches!(self, Impostor | HandshakeCut)
    }

    /// Whether there is such a thing where this is spoken.
    fn exists(self, speaks: Speaks) -> bool {
        let of_http_alone =
            matches!(self, Throttled(Some(_)) | Unavailable(Some(_)) | BlockPage(403) | Impostor);
        speaks == Speaks::Http || !of_http_alone
    }

    /// As the table calls it.
    pub(crate) fn name(self) -> String {
        let again = |seconds: Option<u32>| match seconds {
            Some(seconds) => format!(", `Retry-After: {seconds}`"),
            None => String::new(),
        };
        match self {
            Late => "answer 2.5 s late".to_owned(),
            Drip => "answer dripping for 2.5 s".to_owned(),
            ResetBefore => "reset before the server heard it".to_owned(),
            ResetEarly => "done, reset after 9 bytes".to_owned(),
            ResetHalfway => "done, reset halfway".to_owned(),
            AnswerDropped => "done, answer dropped".to_owned(),
            AnswerWithheld => "done, never answered".to_owned(),
            HalfOpen => "half-open".to_owned(),
            Throttled(after) => format!("429{}", again(after)),
            Unavailable(after) => format!("503{}", again(after)),
            Garbage => "200, no JSON".to_owned(),
            Garbled => "done, 200, half a JSON".to_owned(),
            BlockPage(status) => format!("block page, {status}"),
            Impostor => "a stranger's certificate".to_owned(),
            HandshakeCut => "handshake cut".to_owned(),
        }
    }
}

impl Blow {
    /// The verb that stands for whatever a connection carries.
    pub(crate) const CONNECTION: &'static str = "connection";

    /// Every blow to these verbs.
    pub(crate) fn all(verbs: &[(&'static str, Speaks)]) -> Vec<Self> {
        let mut all = Vec::new();
        for (times, faults) in [(Times::Once, &Fault::ONCE[..]), (Times::Always, &Fault::ALWAYS)] {
            for &fault in faults {
                let having = verbs.iter().filter(|(_, speaks)| fault.exists(*speaks));
                all.extend(having.map(|&(verb, _)| Self { verb, fault, times }));
            }
        }
        let everywhere = Fault::CONNECTIONS.into_iter();
        all.extend(everywhere.map(|fault| Self {
            verb: Self::CONNECTION,
            fault,
            times: Times::Always,
        }));
        all
    }

    /// As the table calls it.
    pub(crate) fn name(&self) -> String {
        match self.times {
            Times::Once => self.fault.name(),
            Times::Always => format!("always: {}", self.fault.name()),
        }
    }
}
