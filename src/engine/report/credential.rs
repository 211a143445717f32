//! The part of the report that speaks of one credential.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Todo;
use super::stamp::{Stamp, Until};
use crate::engine::call::PlaceState;
use crate::engine::capability::Class;

/// What became of one credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialReport {
    /// `ROLE/NAME`, or `admin.NAME`.
    pub id: String,
    /// The provider's id in this inventory.
    pub provider: String,
    /// The kind's name in the provider file.
    pub kind: String,
    /// What such a kind is; null where the entry could not be understood.
    pub class: Option<Class>,
    /// The one that was burned.
    pub old: Old,
    /// Its successor.
    pub new: New,
    /// What dies with the old one outside this run: ids, or the provider's words.
    pub collateral: Vec<String>,
    /// Live at the provider, known to nobody. Untouched, but for what `--revoke-strangers` took.
    pub strangers: Vec<Stranger>,
    /// Issued by this run, its bytes lost.
    pub orphans: Vec<Orphan>,
    /// What the old one minted and may outlive it; null where nothing can.
    pub residual: Option<Vec<Residual>>,
    /// What is left for a person.
    pub todo: Vec<Todo>,
}

/// The burned credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Old {
    /// HMAC under a key of this installation; null where the value could not be read.
    pub fingerprint: Option<String>,
    /// The provider's id of it.
    pub handle: Option<String>,
    /// How the revocation went. It decides no verdict.
    pub revoke: Revoke,
    /// Whether it still works. A restore and a verify carry on what the run before them knew.
    pub verdict: Verdict,
    /// Why that is the verdict, in plain words.
    pub why: String,
    /// When the revocation was accepted.
    pub revoked_at: Option<Stamp>,
    /// When a probe with it was last accepted.
    pub last_accepted_at: Option<Stamp>,
    /// The first refusal after that.
    pub first_refused_at: Option<Stamp>,
    /// `dying`: when we stop waiting. `expires`: when it ends by itself. Else null.
    pub until: Option<Stamp>,
    /// What was seen of its refusal; null where it was never probed.
    pub proof: Option<Proof>,
}

/// How a revocation went.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Revoke {
    /// The provider said yes, or that it was gone before us.
    Accepted,
    /// The provider said no.
    Rejected,
    /// It may have reached the provider; the answer was lost.
    Lost,
    /// It certainly never reached the provider.
    NotSent,
    /// Only a person can.
    ByHand,
    /// This plan does not revoke it.
    #[default]
    None,
}

/// Whether the old credential still works: the only claim that counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It worked before, and its use is refused, for long enough, between two acceptances of a
    /// live credential.
    Dead,
    /// It was refused from the start, and this very value is known.
    AlreadyDead,
    /// It is refused by name, and no live credential was at hand to compare.
    Refused,
    /// The revocation was accepted, and it still answers.
    Dying,
    /// It cannot be recalled, and ends by itself.
    Expires,
    /// It works.
    Alive,
    /// Nothing can be claimed.
    #[default]
    Unproven,
}

/// What was seen of the old one's refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Refusals in a row, unbroken to the end.
    pub refusals: u32,
    /// Between the first and the last of them.
    pub held_ms: u64,
    /// Whose acceptance stood around them: `new`, `admin`, or the id of the credential that the
    /// inventory names; null where there was none.
    pub control: Option<String>,
    /// How a made-up credential of the same shape looked.
    pub made_up: MadeUp,
    /// Whose word it is how long refusals must last.
    pub rule: ProofSource,
}

/// How a made-up credential looked to the probe: the negative control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MadeUp {
    /// Refused, as it should.
    Refused,
    /// Not refused: the probe is blind, and proves nothing.
    Accepted,
    /// Not tried.
    #[default]
    NotTaken,
}

/// Whose word it is how long a refusal must last to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProofSource {
    /// The provider file's.
    Provider,
    /// The inventory's.
    Inventory,
    /// Nobody's: nothing is known of this provider, and the figures are ours.
    #[default]
    Assumed,
}

/// The successor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct New {
    /// HMAC under a key of this installation.
    pub fingerprint: Option<String>,
    /// The provider's id of it.
    pub handle: Option<String>,
    /// Where it is.
    pub state: NewState,
    /// The plan issues one. Where it does not, `not-issued` leaves nothing to do.
    pub planned: bool,
    /// Why it is not where it should be, in plain words.
    pub why: Option<String>,
    /// Places that hold it.
    pub delivered: Vec<Delivered>,
    /// Places that should, and do not.
    pub not_delivered: Vec<NotDelivered>,
    /// It acts as another principal than the old one.
    pub identity: Option<IdentityChange>,
}

impl Default for New {
    /// Planned and not issued: what nobody has filled in must not look finished.
    fn default() -> Self {
        Self {
            fingerprint: None,
            handle: None,
            state: NewState::NotIssued,
            planned: true,
            why: None,
            delivered: Vec::new(),
            not_delivered: Vec::new(),
            identity: None,
        }
    }
}

/// Where a new credential is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NewState {
    /// In every place it goes to.
    Delivered,
    /// Under seal, as planned.
    Held,
    /// Under seal, because a place could not be written.
    Escrowed,
    /// Nowhere.
    #[default]
    NotIssued,
    /// Issued, and never seen accepted, or refused when it was last used.
    Unproven,
}

/// One place that holds the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivered {
    /// The reference, as the inventory writes it.
    pub to: String,
    /// How far it came.
    pub state: PlaceState,
}

/// One place that should hold the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotDelivered {
    /// The reference, as the inventory writes it.
    pub to: String,
    /// Why not, in plain words.
    pub why: String,
}

/// The principals that the old and the new one were accepted as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityChange {
    /// The old one's.
    pub from: String,
    /// The new one's.
    pub to: String,
}

/// A credential that is live at the provider and known to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stranger {
    /// The provider's id of it.
    pub handle: String,
    /// The name it was given there.
    pub label: Option<String>,
    /// When it was made, as the provider writes it.
    pub created: Option<String>,
    /// When it was last used, as the provider writes it.
    pub used: Option<String>,
    /// How it stands to this run.
    pub class: StrangerClass,
    /// What became of it.
    pub state: StrangerState,
    /// Why that became of it, in plain words; null where nothing was asked for.
    pub why: Option<String>,
}

/// What became of an unrecognised credential. Its bytes are known to nobody here, so that its death
/// cannot be proved by using it: the provider's own list is the only witness.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StrangerState {
    /// Left as it was.
    #[default]
    Untouched,
    /// It was to be revoked, and was not.
    NotRevoked,
    /// The revocation was accepted, and nothing was heard of it since.
    Unconfirmed,
    /// The revocation was accepted, and the provider's list still shows it as live.
    Listed,
    /// The revocation was accepted, and the provider's list shows it as live no more.
    Gone,
}

/// How an unrecognised credential stands to this run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StrangerClass {
    /// Made while the run was under way.
    MintedDuringRun,
    /// Made since `--since`.
    Since,
    /// Made before, or nobody says when.
    OlderOrUndated,
}

/// A credential that this run issued and whose bytes were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orphan {
    /// The provider's id of it.
    pub handle: String,
    /// The label that tells it is ours.
    pub label: Option<String>,
    /// It was revoked. If not, it is left for a person.
    pub revoked: bool,
}

/// Something that the old one minted and that may outlive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Residual {
    /// What, in the provider file's words.
    pub what: String,
    /// Until when it may live.
    pub until: Until,
}
