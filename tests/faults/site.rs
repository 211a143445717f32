//! What each real server has to say for itself: a credential of its own for every cell, its verbs
//! on the wire, and the truth, asked without the proxy.

use serde_json::Value;

use crate::bench::Host;
use crate::fault::{Blow, Times};
use crate::message::Speaks;
use crate::proxy::{Exchange, Proxy, VerbOf};
use crate::tls::Tls;

mod aws;
mod django;
mod express;
mod npm;
mod oidc;
mod redis;
mod toolkit;
mod wordpress;

/// The verb that makes a new one.
pub(crate) const ISSUE: &str = "issue";

/// The verb that looks what there is.
pub(crate) const FIND: &str = "find";

/// The verb that ends the old one.
pub(crate) const REVOKE: &str = "revoke";

/// The verb that uses one.
pub(crate) const PROBE: &str = "probe";

/// These servers are one process each and never flap; a run of refusals is short, so that the
/// whole table is. Who fails once is asked again, on a machine that has other things to do as well;
/// who hangs once does for 20 s.
fn proof(blow: Option<Blow>) -> String {
    let give_up = match blow {
        Some(Blow { fault, times: Times::Once, .. }) if fault.is_silent() => "45s",
        Some(Blow { times: Times::Once, .. }) => "20s",
        _ => "6s",
    };
    format!("{{ refusals = 2, hold = \"500ms\", give_up = \"{give_up}\" }}")
}

/// One real server.
pub(crate) trait Site: Send + Sync {
    fn name(&self) -> &'static str;

    /// What is asked of it in a contain, and how it is spoken to.
    fn verbs(&self) -> &'static [(&'static str, Speaks)];

    /// A credential that no other cell has, on a host of its own.
    fn open(&self, number: usize, blow: Option<Blow>) -> Cell;

    /// Whether it accepts this value, asked directly.
    fn accepts(&self, cell: &Cell, value: &str) -> bool;

    /// What lies in the place.
    fn placed(&self, cell: &Cell) -> String;

    /// What of the cell's account lives, by the names that a report has for it: handles where the
    /// server lists them. What has no name is called after its kind.
    fn live(&self, cell: &Cell) -> Vec<String>;

    /// Whether one issue after another may be sent without a look: making it twice makes it once.
    fn may_repeat(&self) -> bool {
        false
    }

    /// Whether, once its end was asked for, the old one is shown once more on purpose, in the words
    /// of an issue: so that a thief's share of its family ends.
    fn shows_the_spent(&self) -> bool {
        false
    }

    /// Verbs without which nothing can be revoked here. No fault at any other keeps the old one
    /// alive, however long it lasts.
    fn kill_needs(&self) -> &'static [&'static str];

    /// Whether what was made and lost can be found: in a list, or because making it twice makes it
    /// once.
    fn lists(&self) -> bool {
        true
    }

    /// Whether its answers are pages for people: one that does not sign in is a no.
    fn reads_pages(&self) -> bool {
        false
    }

    /// One more of the cell's account, made by somebody else; none where nobody can.
    fn mint(&self, _: &Cell, _label: &str) -> Option<Minted> {
        None
    }

    /// Whether its list shows what each was called.
    fn shows_labels(&self) -> bool {
        false
    }

    /// Whether a credential that nobody holds can be ended by the name that a list has for it.
    fn ends_by_handle(&self) -> bool {
        true
    }

    /// How many runs at once it answers in time.
    fn bears(&self) -> usize {
        10
    }
}

/// A credential that somebody else made.
pub(crate) struct Minted {
    /// As the server lists it.
    pub(crate) name: String,
    pub(crate) value: String,
}

/// One run against one server.
pub(crate) struct Cell {
    pub(crate) host: Host,
    pub(crate) proxies: Vec<Proxy>,
    /// The account's name, number or whatever tells it from those of other cells.
    account: String,
    pub(crate) old: String,
    /// What a report may call it, where the server lists it under a name.
    pub(crate) old_name: String,
}

impl Cell {
    /// All that went through its proxies, in order.
    pub(crate) fn seen(&self) -> Vec<Exchange> {
        let mut all: Vec<_> = self.proxies.iter().flat_map(Proxy::seen).collect();
        all.sort_by_key(|exchange| exchange.at);
        all
    }

    /// A part of each answer that the server gave to this verb.
    fn answered(&self, verb: &str, part: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let of_verb = self.seen().into_iter().filter(|exchange| exchange.verb == verb);
        of_verb.filter_map(|exchange| part(&exchange.answer?.1)).collect()
    }
}

/// Every server that is there.
pub(crate) fn all() -> Vec<Box<dyn Site>> {
    fn boxed<T: Site + 'static>(start: fn() -> Option<T>) -> Option<Box<dyn Site>> {
        start().map(|site| Box::new(site) as Box<dyn Site>)
    }
    // All at once: one after another they take half a minute on a busy machine.
    std::thread::scope(|scope| {
        let starting = [
            scope.spawn(|| boxed(redis::start)),
            scope.spawn(|| boxed(aws::start)),
            scope.spawn(|| boxed(oidc::start)),
            scope.spawn(|| boxed(toolkit::start)),
            scope.spawn(|| boxed(django::start)),
            scope.spawn(|| boxed(express::start)),
            scope.spawn(|| boxed(npm::start)),
            scope.spawn(|| boxed(wordpress::start)),
        ];
        starting.into_iter().filter_map(|one| one.join().unwrap()).collect()
    })
}

/// A proxy to a server, and its address for the inventory: `http://127.0.0.1:PORT`.
fn through(address: &str, speaks: Speaks, verb_of: VerbOf, blow: Option<Blow>) -> (Proxy, String) {
    let upstream = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::to(upstream, speaks, verb_of, blow);
    let tls = if blow.is_some_and(|blow| blow.fault.is_of_tls()) { "s" } else { "" };
    let scheme = match speaks {
        Speaks::Http => format!("http{tls}"),
        Speaks::Resp => format!("redis{tls}"),
    };
    let address = format!("{scheme}://127.0.0.1:{}", proxy.port);
    (proxy, address)
}

/// A host that trusts the proxy's certificate.
fn host() -> Host {
    let host = Host::new();
    host.put("trusted.pem", &Tls::trusted_as_pem());
    host
}

/// The JSON below the head of an answer.
fn json(answer: &str) -> Value {
    let body = answer.split_once("\n\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
