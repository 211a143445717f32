//! How a run begins: its journal, the world it is made in, the marks of its roles.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::ending::{finish, mark_contained};
use super::failure::Failure;
use super::line::{causes, forwarding, header, own, wall};
use super::locking;
use super::prepare::Prepared;
use super::progress::Watch;
use super::session::Session;
use super::telling::Telling;
use super::terminal;
use crate::drive;
use crate::engine::call::Told;
use crate::engine::report::Report;
use crate::journal::{Journal, JournalError, State};
use crate::store::GivenStore;

impl Session {
    /// The state of a run that must revoke; a dry run makes none.
    ///
    /// # Errors
    /// Not even memory would do.
    pub(crate) fn state_for_contain(&self, dry_run: bool) -> Result<State, Failure> {
        match dry_run && !self.state.exists() {
            true => State::in_memory().map_err(|error| own(&error)),
            false => self.open_state(true),
        }
    }

    /// Begins the journal of a plan whose roles are ours, and carries it through. `given` are
    /// secrets that stand in no place.
    ///
    /// # Errors
    /// It could not begin.
    pub(crate) async fn begin(
        &self,
        mut state: State,
        prepared: Prepared,
        given: Option<GivenStore>,
        mut told: UnboundedReceiver<Told>,
        watch: &Watch,
    ) -> Result<Report, Failure> {
        let Prepared { plan, context, history, .. } = prepared;
        let (began, mode) = (wall(), plan.mode);
        let header = header(&plan, &context, began)?;
        let _driven = locking::drive(&state, &plan, began)?;
        let mut begun = Journal::begin(&state, &header, &history.adopted);
        if let (Err(JournalError::Sealed { .. }), true) = (&begun, mode.contains()) {
            // What an earlier run held and no key opens is no reason to keep no journal of this.
            terminal::say("warning: goes on without what an earlier run sealed and no key opens");
            begun = Journal::begin(&state, &header, &state.openable(&history.adopted));
        }
        let journal = match begun {
            Ok(journal) => journal,
            Err(error) if plan.mode.contains() => {
                terminal::say(&format!(
                    "warning: the journal cannot be written: {}",
                    causes(&error)
                ));
                state = State::in_memory().map_err(|error| Failure::own(error.to_string()))?;
                Journal::begin(&state, &header, &history.adopted).map_err(|error| own(&error))?
            }
            Err(error) => return Err(own(&error).hint(error.hint())),
        };
        watch.begin(&plan.run, &journal.first());
        let mut world = self.world(&state, &plan, &context, watch)?;
        if let Some(given) = given {
            world = world.with_store(GivenStore::SCHEME, Arc::new(given));
        }
        let lost = (!state.is_durable()).then_some(Told::JournalLost);
        let told = forwarding(&mut told, lost);
        let telling = Telling::new(watch);
        history.close_interrupted(&state, began);
        if mode.contains() {
            mark_contained(&state, &plan);
        }
        let driven = drive::drive(plan, journal, &world, told, &telling).await;
        finish(&state, driven, &context)
    }
}
