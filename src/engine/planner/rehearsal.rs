//! What a rehearsal refuses before it touches anything.

use std::collections::BTreeSet;

use super::super::call::{Subject, Verb};
use super::super::plan::{Options, Plan, PlanError, Planned};
use crate::inventory::{Credential, Inventory};

impl Plan {
    /// A role that is out of service, and whatever could not be replaced without a gap.
    pub(super) fn refuse_unsafe_rehearsal(
        &self,
        inventory: &Inventory,
        options: &Options,
    ) -> Result<(), PlanError> {
        let refuse = |credential: &str, because: &str, hint: &str| {
            Err(PlanError::NotRehearsable {
                credential: credential.to_owned(),
                because: because.to_owned(),
                hint: hint.to_owned(),
            })
        };
        for role in &self.roles {
            let marked = inventory
                .roles
                .get(&role.name)
                .is_some_and(|role| role.contained.is_some() || role.disabled.is_some());
            if marked || options.contained.contains(&role.name) {
                let hint = "restore it first: rotate restore --role ROLE --because TEXT";
                return refuse(&role.name, "the role is contained or disabled", hint);
            }
        }
        for (client, planned) in (0..).map(Subject).zip(&self.credentials) {
            if let Some(left) = self.left_behind(inventory, client, planned) {
                let because = format!("{left}, which was granted to it, is not of this rehearsal");
                return refuse(&planned.id, &because, "name its role too, or use --only");
            }
            if !planned.deliver {
                let hint = "restore the role that owns it first, or use --only";
                return refuse(&planned.id, "its owner is contained or disabled", hint);
            }
            if planned.reload.is_empty() && !planned.read_on_use {
                let hint = "give reload = [\"command\", ...], or reload = \"none\" if it is read \
                            on each use";
                return refuse(&planned.id, "nothing says when its user reads it again", hint);
            }
            let kind = self.kind(planned.kind).map(|kind| &kind.can);
            let has = |verb| kind.is_some_and(|can| !can.ways(verb).is_empty());
            let looks = kind.is_some_and(|can| can.probe().is_some());
            if !looks || !(has(Verb::Issue) || has(Verb::Roll)) {
                let hint = "leave it out with --only, or rotate it by hand";
                return refuse(&planned.id, "its kind cannot be issued and proved here", hint);
            }
            if !planned.collateral.is_empty() {
                let because =
                    format!("its revocation also kills {}", planned.collateral.join(", "));
                return refuse(&planned.id, &because, "name those roles too, or use --only");
            }
        }
        Ok(())
    }

    /// What was granted to a client that gets another id, and would stay the old one's.
    fn left_behind(
        &self,
        inventory: &Inventory,
        client: Subject,
        planned: &Planned,
    ) -> Option<String> {
        if !self.gets_another_id(client) {
            return None;
        }
        let granted = inventory.roles.values().flat_map(|role| {
            let its = |one: &&Credential| one.client.as_deref() == Some(&planned.id);
            let id = |one: &Credential| format!("{}/{}", role.name, one.name);
            role.credentials.iter().filter(its).map(id)
        });
        let of_run: BTreeSet<&str> = self.credentials.iter().map(|one| one.id.as_str()).collect();
        granted.into_iter().find(|id| !of_run.contains(id.as_str()))
    }
}
