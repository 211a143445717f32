//! A provider file made live: one request per call, no retries, no sleeping, no logging of bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::spec::Spec;
use super::{Driver, Provider, Reply, Secrets, SharedClients};
use crate::engine::call::{Answer, At, Fault, Reason, Values};
use crate::engine::capability::ProviderCapability;
use crate::secret::Parts;

/// The wall clock, milliseconds since 1970: for expiries and for delays given as a date.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// One provider at its address.
pub(crate) struct Live {
    pub(crate) spec: Arc<Spec>,
    pub(crate) capability: ProviderCapability,
    bases: BTreeMap<String, Url>,
    drivers: BTreeMap<String, Arc<dyn Driver>>,
}

impl Live {
    pub(crate) fn new(
        spec: Arc<Spec>,
        capability: ProviderCapability,
        bases: BTreeMap<String, Url>,
        drivers: &BTreeMap<String, Arc<dyn Driver>>,
    ) -> Self {
        Self { spec, capability, bases, drivers: drivers.clone() }
    }
}

/// A [`Provider`] made of a file.
pub struct SpecProvider {
    live: Arc<Live>,
}

impl SpecProvider {
    pub(crate) fn new(
        live: Arc<Live>,
        _all: Arc<BTreeMap<String, Arc<Live>>>,
        _clients: SharedClients,
        _now: Now,
    ) -> Self {
        Self { live }
    }
}

#[async_trait]
impl Provider for SpecProvider {
    fn capability(&self) -> &ProviderCapability {
        &self.live.capability
    }

    async fn call(&self, _at: &At, _values: &Values, _secrets: &Secrets) -> Reply {
        Answer::Fault(Fault::Refused(Reason::Unsupported.into())).into()
    }

    fn made_up(&self, _kind: &str, parts: &Parts) -> Parts {
        parts.duplicate()
    }
}
