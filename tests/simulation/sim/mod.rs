//! A world in virtual time for the engine, the loop and the journal as they are shipped.
//!
//! There is no loop here: `rotate::drive` is called, and everything outside answers it. One number
//! makes one story.

mod asked;
mod bench;
mod end;
mod outside;
mod scenario;
mod shadow;
mod site;
mod story;
mod totals;
mod watch;

pub(crate) use scenario::Scenario;
pub(crate) use story::Lab;
pub(crate) use totals::Totals;

/// The smallest story with the same violation, by name. Each step takes something out.
pub(crate) fn shrunk(lab: &Lab, scenario: Scenario, invariant: &str) -> Scenario {
    let same = |smaller: &Scenario| {
        let violation = lab.play(smaller, false).violation;
        violation.is_some_and(|seen| name(&seen) == invariant)
    };
    let mut smallest = scenario;
    while let Some(smaller) = smallest.smaller().into_iter().find(same) {
        smallest = smaller;
    }
    smallest
}

/// The name of the invariant in what was seen.
pub(crate) fn name(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}
