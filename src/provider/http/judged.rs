//! One answer read without a request, for `fuzz`.

use super::scene::Scene;
use super::{SpecProvider, list, read, refused, render};
use crate::engine::call::{At, Values, Verb};
use crate::provider::spec::judge::Answered;
use crate::provider::{Provider as _, Reply, Secrets};

impl SpecProvider {
    /// What an answer to this call means, as if a server had given it to its first request.
    pub(crate) fn judged(
        &self,
        at: &At,
        values: &Values,
        secrets: &Secrets,
        answered: &Answered,
    ) -> Option<Reply> {
        debug_assert_eq!(self.capability().id, at.provider);
        let kind = self.live.kind(&at.kind)?;
        let way = kind.verbs.get(&at.verb)?.get(usize::from(at.way))?;
        let call = way.steps.get(usize::from(at.step))?;
        let mut scene = Scene::new(&self.live, kind, at.verb, values, secrets, (self.now)());
        if let Err(why) = self.cast(&mut scene, call) {
            return Some(refused(at.verb, why).into());
        }
        Some(match at.verb {
            Verb::Find => {
                let rendered = render::request(&scene, call).ok();
                list::first_page(&scene, call, answered, rendered.as_ref()).into()
            }
            _ => read::reply(&scene, call, answered),
        })
    }
}
