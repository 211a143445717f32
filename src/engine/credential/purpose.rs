//! What a call is for.

use serde::{Deserialize, Serialize};

use super::Machine;

/// What a call is for; with the credential, it says everything that is needed to make it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum Purpose {
    /// Read the old one.
    Read,
    /// Read a credential that acts without being rotated.
    ReadActor(u32),
    /// See whether the old one lives before anything is done to it; a layer of the probe.
    Baseline(u16),
    /// A step of what later verbs need to know.
    Learn(u16),
    /// Find the old one's handle.
    Find,
    /// List what exists, for every credential of this list.
    List {
        /// The list.
        list: u32,
        /// Nothing more is done to any of them.
        after: bool,
    },
    /// The negative control, for every credential of this probe.
    MadeUp(u32, u16),
    /// Choose the bytes of the new one.
    Generate,
    /// A step of issue.
    Issue {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Look whether an issue whose answer was lost was made.
    LookForIssued,
    /// End what an issue made whose answer was lost.
    RevokeOrphan {
        /// Its handle.
        handle: String,
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of roll.
    Roll {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of finish.
    Finish {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Use the new one; a layer.
    ProbeNew(u16),
    /// Write it to its places.
    Deliver,
    /// A step of revoke.
    Revoke {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// A step of evict.
    Evict {
        /// The way.
        way: u16,
        /// The step.
        step: u16,
    },
    /// Use the old one; a layer.
    ProbeOld(u16),
    /// Use the positive control; a layer.
    ProbeControl(u16),
    /// End the agent of a role.
    Stop(u32),
    /// Save the evidence of a role.
    Preserve(u32),
    /// Look through the files of a role.
    Scan(u32),
}

/// When what stands in line for a purpose is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Standing {
    /// While its phase lasts.
    Phase,
    /// While its proof lasts.
    Proof,
    /// While its credential is not closed.
    Open,
    /// Always: it is for more than one credential.
    Always,
}

impl Purpose {
    /// When it is still wanted.
    pub(in crate::engine) fn standing(&self) -> Standing {
        match self {
            Self::Generate
            | Self::Issue { .. }
            | Self::Roll { .. }
            | Self::LookForIssued
            | Self::RevokeOrphan { .. }
            | Self::Finish { .. }
            | Self::ProbeNew(_)
            | Self::Deliver
            | Self::Revoke { .. }
            | Self::Evict { .. } => Standing::Phase,
            Self::ProbeOld(_) | Self::ProbeControl(_) => Standing::Proof,
            Self::Read | Self::Baseline(_) | Self::Learn(_) | Self::Find => Standing::Open,
            Self::ReadActor(_)
            | Self::List { .. }
            | Self::MadeUp(..)
            | Self::Stop(_)
            | Self::Preserve(_)
            | Self::Scan(_) => Standing::Always,
        }
    }
}

impl Machine {
    /// What a call made now for this purpose belongs to.
    pub(in crate::engine) fn mark(&self, purpose: &Purpose) -> u32 {
        match purpose.standing() {
            Standing::Phase => self.epoch,
            Standing::Proof => self.round,
            Standing::Open | Standing::Always => 0,
        }
    }

    /// Whether what was marked so belongs to what it is doing.
    pub(in crate::engine) fn is_marked(&self, purpose: &Purpose, mark: u32) -> bool {
        self.mark(purpose) == mark
    }

    /// Whether what was marked so is still wanted.
    pub(in crate::engine) fn wants(&self, purpose: &Purpose, mark: u32) -> bool {
        purpose.standing() == Standing::Always || (!self.closed && self.is_marked(purpose, mark))
    }
}
