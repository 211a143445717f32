//! How far a run has come, for whoever watches it. Plain data; no secret is in it.

use super::report::Stamp;

/// One credential, or one role, has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When.
    pub wall: Stamp,
    /// Milliseconds since the start of the run.
    pub elapsed_ms: u64,
    /// `ROLE/NAME` of a credential; a role's name for what is done to a role.
    pub id: String,
    /// What was done: `revoke`, `probe`, `issue`.
    pub step: String,
    /// What came of it: `accepted`, `refused`, `dead`.
    pub state: String,
    /// Nothing more will happen to it in this run.
    pub settled: bool,
}
