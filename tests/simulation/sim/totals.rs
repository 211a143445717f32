//! What a simulation came to, in numbers.

use std::ops::AddAssign;

use serde::Serialize;

macro_rules! totals {
    ($($(#[$about:meta])* $name:ident,)*) => {
        #[derive(Clone, Debug, Default, Serialize)]
        pub(crate) struct Totals { $($(#[$about])* pub(crate) $name: u64,)* }

        impl AddAssign for Totals {
            fn add_assign(&mut self, more: Self) { $(self.$name += more.$name;)* }
        }
    };
}

totals! {
    seeds,
    /// Runs begun: what is contained, rehearsed, restored, verified.
    runs,
    credentials,
    events,
    calls,
    /// Keys made by the runs, and revocations that reached a provider.
    issued,
    revoked,
    crashes,
    /// Crashes in the middle of a write: it stood, it stood but for its damaged last record, or
    /// nothing of it did.
    writes_stood,
    writes_torn,
    writes_lost,
    disks_full,
    stops,
    takeovers,
    /// A second process wanted the role.
    seconds,
    attackers,
    responders,
    clock_jumps,
    calls_lost,
    answers_lost,
    late,
    hung,
    throttled,
    blocked,
    unreachable,
    /// Verdicts at the end of all.
    dead,
    already_dead,
    alive,
    other_verdicts,
    virtual_seconds,
    violations,
}
