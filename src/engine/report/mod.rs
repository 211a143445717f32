//! The report: what became of every credential, and what is left for a person.
//!
//! Plain data and pure functions. The JSON form is a public contract (`schema/report.schema.json`,
//! `docs/report.md`): under `format` 1 fields are only ever added, and no word changes its meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::Vendor;

mod credential;
pub mod exit;
mod stamp;

pub use credential::{
    CredentialReport, Delivered, IdentityChange, MadeUp, New, NewState, NotDelivered, Old, Orphan,
    Proof, ProofSource, Residual, Revoke, Stranger, StrangerClass, Verdict,
};
pub use stamp::{BadStamp, Stamp, Until};

/// The number under which fields are only ever added.
pub const FORMAT: u32 = 1;

/// What one run did, credential by credential.
///
/// `owner`, `authorized_by`, `vendor`, `upstream`, `stopped` and `evidence` repeat `role_details`:
/// with one role they are that role's. With several, the first role gives owner, authorizing party
/// and vendor, `upstream` is everyone's, and `stopped` and `evidence` are those of the role that is
/// worst off, so that a reader of these alone is never told anything better than the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always 1.
    #[schemars(extend("const" = 1))]
    pub format: u32,
    /// The version of rotate that wrote it.
    pub version: String,
    /// The run.
    pub run: String,
    /// The plan it followed.
    pub mode: Mode,
    /// The run that this one verifies, restores or has adopted.
    pub of: Option<Origin>,
    /// Roles, in the order they were named.
    pub roles: Vec<String>,
    /// `--case`.
    pub case: Option<String>,
    /// `--session`.
    pub session: Option<String>,
    /// Capability owner: can prevent recurrence.
    pub owner: Option<String>,
    /// Authorizing party: knows what was supposed to happen.
    pub authorized_by: Option<String>,
    /// The vendor of the model.
    pub vendor: Option<Vendor>,
    /// Roles outside this run that can hand these roles new credentials.
    pub upstream: Vec<String>,
    /// The inventory that the plan was made from.
    pub inventory: InventoryFacts,
    /// When the run began.
    pub started: Stamp,
    /// When nothing was left to do for the run; null while it is open.
    pub finished: Option<Stamp>,
    /// The instant this report speaks of: what has passed by then has passed.
    pub as_of: Stamp,
    /// The exit code of the command: see `docs/report.md`.
    pub exit_code: u8,
    /// A person stopped the run; `rotate resume` takes it up again.
    pub stopped_early: bool,
    /// rotate itself failed, and how; what is below is how far it came.
    pub failed: Option<String>,
    /// Hash of the journal's last event, `sha256:` and 64 hexadecimal digits.
    pub journal_head: Option<String>,
    /// From here on the journal could not be written: what came later cannot be resumed.
    pub journal_lost_at: Option<Stamp>,
    /// Whether the agent was ended.
    pub stopped: Stopped,
    /// Whether the evidence was saved.
    pub evidence: Evidence,
    /// The same facts role by role.
    pub role_details: Vec<RoleDetail>,
    /// How fast.
    pub timings: Timings,
    /// How many.
    pub summary: Summary,
    /// Every credential of the plan, and every entry of the roles that no plan could use.
    pub credentials: Vec<CredentialReport>,
    /// Values of a known shape that lie where the role can read them and no entry names: burned,
    /// untouched.
    pub unlisted: Vec<Unlisted>,
    /// Other keys of the same files, by name only. They change no exit code.
    pub other_keys: Vec<String>,
    /// What is left for a person and belongs to no one credential.
    pub todo: Vec<Todo>,
    /// Provider files used, and the hosts that secrets could reach.
    pub providers: Vec<ProviderFacts>,
    /// Said before or during the run; they change no exit code.
    pub warnings: Vec<String>,
}

impl Default for Report {
    /// A report of nothing: format 1, this version, no run.
    fn default() -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: String::new(),
            mode: Mode::default(),
            of: None,
            roles: Vec::new(),
            case: None,
            session: None,
            owner: None,
            authorized_by: None,
            vendor: None,
            upstream: Vec::new(),
            inventory: InventoryFacts::default(),
            started: Stamp::default(),
            finished: None,
            as_of: Stamp::default(),
            exit_code: exit::SOMETHING_LEFT,
            stopped_early: false,
            failed: None,
            journal_head: None,
            journal_lost_at: None,
            stopped: Stopped::default(),
            evidence: Evidence::default(),
            role_details: Vec::new(),
            timings: Timings::default(),
            summary: Summary::default(),
            credentials: Vec::new(),
            unlisted: Vec::new(),
            other_keys: Vec::new(),
            todo: Vec::new(),
            providers: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// The plan a run follows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Kill first, then replace; new ones are held.
    #[default]
    Contain,
    /// Kill; issue nothing.
    RevokeOnly,
    /// Deliver what a contain held, and enable the role again.
    Restore,
    /// Replace without an instant that has no working credential.
    Rehearse,
    /// Prove again.
    Verify,
}

impl Mode {
    /// The word in reports and journals.
    pub fn word(self) -> &'static str {
        match self {
            Self::Contain => "contain",
            Self::RevokeOnly => "revoke-only",
            Self::Restore => "restore",
            Self::Rehearse => "rehearse",
            Self::Verify => "verify",
        }
    }

    /// Whether it ends the credentials of a burned role.
    pub fn contains(self) -> bool {
        matches!(self, Self::Contain | Self::RevokeOnly)
    }
}

/// An earlier run that this one goes back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// Its id.
    pub run: String,
    /// The plan it followed.
    pub mode: Mode,
}

/// The inventory that a plan was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryFacts {
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
    /// What changed since the last run of these roles: entries gone, hosts new.
    pub changed: Vec<String>,
}

/// One role of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoleDetail {
    /// Its name.
    pub role: String,
    /// Capability owner.
    pub owner: Option<String>,
    /// Authorizing party.
    pub authorized_by: Option<String>,
    /// The vendor of the model.
    pub vendor: Option<Vendor>,
    /// Roles outside this run that can hand it new credentials.
    pub upstream: Vec<String>,
    /// Whether its agent was ended.
    pub stopped: Stopped,
    /// Whether its evidence was saved.
    pub evidence: Evidence,
}

/// Whether an agent was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// How sure that is.
    pub state: StopState,
    /// When that was known.
    pub at: Option<Stamp>,
    /// Why it failed, in plain words.
    pub why: Option<String>,
}

/// How sure it is that an agent was ended; worst first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StopState {
    /// It was tried, and failed.
    Failed,
    /// It is named, and has no answer yet.
    Pending,
    /// Nothing was tried: the inventory names no way, or this plan stops no agent.
    #[default]
    None,
    /// The command exited 0; nothing checked that the agent is gone.
    Reported,
    /// It was checked that the agent is gone.
    Verified,
}

/// Whether the evidence of a role was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// How completely.
    pub state: EvidenceState,
    /// The sealed archive.
    pub archive: Option<String>,
    /// Its SHA-256, hexadecimal.
    pub sha256: Option<String>,
    /// What could not be saved.
    pub gaps: Vec<String>,
}

/// How completely evidence was saved; worst first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceState {
    /// It was tried, and nothing was saved.
    Failed,
    /// It is named, and not saved yet.
    Pending,
    /// Saved, but for `gaps`.
    Partial,
    /// Nothing was tried: the inventory names none, or this plan saves none.
    #[default]
    None,
    /// Everything named was saved.
    Saved,
}

/// Milliseconds since the start of the run; null where it has not happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// The first revocation was accepted.
    pub first_revoke_ms: Option<u64>,
    /// The last revocation was accepted.
    pub last_revoke_ms: Option<u64>,
    /// The last old credential was proved dead.
    pub last_dead_ms: Option<u64>,
}

/// How many credentials got which verdict, how many have a successor, how much is left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each counts the verdict it is named for")]
pub struct Summary {
    pub dead: u32,
    pub already_dead: u32,
    pub refused: u32,
    pub dying: u32,
    pub expires: u32,
    pub alive: u32,
    pub unproven: u32,
    /// New ones that are delivered, or held as planned.
    pub replaced: u32,
    /// Things left for a person.
    pub todo: u32,
}

/// Something left for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Todo {
    /// What is not done.
    pub what: String,
    /// The page where it is done.
    pub at: Option<String>,
    /// What to do there.
    #[serde(rename = "do")]
    pub action: String,
}

/// A value of a known shape that no entry of the inventory names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unlisted {
    /// The reference that would name it.
    pub place: String,
    /// The provider whose shape it has.
    pub provider: Option<String>,
    /// The kind whose shape it has.
    #[serde(default)]
    pub kind: Option<String>,
    /// HMAC under a key of this installation.
    pub fingerprint: String,
}

/// A provider file that the run used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderFacts {
    /// The provider's id in this inventory.
    pub id: String,
    /// The file.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Hosts that secrets could reach.
    pub hosts: Vec<String>,
    /// They are the inventory's word, not the vendor's.
    pub hosts_from_inventory: bool,
}
