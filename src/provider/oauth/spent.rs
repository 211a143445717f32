//! A refresh token whose end was asked for, shown once more.
//!
//! Who refreshed it before us holds a token of its family that no revocation of the old one reaches
//! everywhere; an issuer that detects reuse ends the whole family (RFC 9700 section 4.14). One that
//! answers with tokens has ended nothing, or gives a grace: what it gave is ended.
//!
//! What a showing brought is named nowhere but here. It is remembered until its end is answered,
//! and what cannot be followed up is refused, so that a person is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::client::{Client, Granted, Token, text};
use super::grant::revoke;
use super::wire::Failure;
use crate::engine::call::{Answer, Fault, Reason, Why};
use crate::secret::Secret;

/// How often a token is shown without an answer. The second time ends what the first may have
/// brought, where reuse is detected; each further one could bring as much again elsewhere.
const UNANSWERED_MAX: u8 = 2;

/// What is known of the tokens that are shown, by their digest: a refresh token is nothing that
/// could be guessed from it.
#[derive(Default)]
pub(super) struct Showings(Mutex<BTreeMap<[u8; 32], Arc<Showing>>>);

impl Showings {
    /// The revocation of a token comes to its showing: this process has not shown it yet.
    pub(super) fn begin(&self, old: &Secret) {
        if let Ok(old) = text(old) {
            locked(&self.0).entry(digest(old)).or_default();
        }
    }

    /// Without a beginning here, a process that died since may have shown it.
    fn of(&self, old: &str) -> Arc<Showing> {
        let crashed = || Arc::new(Showing(Mutex::new(Open::crashed())));
        Arc::clone(locked(&self.0).entry(digest(old)).or_insert_with(crashed))
    }

    /// Nothing of it is open any more, but what a person has to look at.
    fn close(&self, old: &str, doubt: Option<Why>) -> Answer {
        locked(&self.0).remove(&digest(old));
        doubt.map_or(Answer::Done, |why| Answer::Fault(Fault::Refused(why)))
    }
}

/// One token that is shown.
#[derive(Default)]
struct Showing(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// Showings without an answer.
    unanswered: u8,
    /// Why something may live that nobody here knows.
    doubt: Option<Why>,
    /// What was brought and has not been ended.
    brought: Vec<(Arc<Secret>, Token)>,
}

impl Open {
    fn crashed() -> Self {
        Self { unanswered: 1, doubt: Some(Reason::Crashed.into()), brought: Vec::new() }
    }

    fn keep(&mut self, mut granted: Granted) {
        let refresh = granted.take_refresh().map(|token| (token, Token::Refresh));
        let access = granted.take_access().map(|token| (token, Token::Access));
        let tokens = refresh.into_iter().chain(access);
        self.brought.extend(tokens.map(|(token, which)| (Arc::new(token), which)));
    }
}

impl Showing {
    fn open(&self) -> MutexGuard<'_, Open> {
        locked(&self.0)
    }

    /// Shows it, and once more after a loss.
    async fn show(&self, client: &Client<'_>, old: &str) -> Result<(), Fault> {
        let before = self.open().doubt.clone();
        if self.open().unanswered == UNANSWERED_MAX {
            return Ok(());
        }
        self.open().unanswered += 1;
        // The call may be given up before there is an answer.
        self.open().doubt.get_or_insert_with(|| Reason::Timeout.into());
        let shown = client.refresh(old).await;
        let mut open = self.open();
        let shown = match shown {
            Ok(granted) => {
                open.keep(granted);
                Ok(())
            }
            // Refused, for whatever reason: it can be shown no better.
            Err(Failure::Refused(_)) => Ok(()),
            Err(failure) => Err(failure.of_making()),
        };
        if let Err(Fault::Unknown(why)) = &shown {
            open.doubt = before.or_else(|| Some(why.clone()));
            return if open.unanswered == UNANSWERED_MAX { Ok(()) } else { shown };
        }
        open.unanswered -= 1;
        open.doubt = before;
        shown
    }

    /// Ends what it brought; the first fault after which the same is to be asked again.
    async fn end(&self, client: &Client<'_>) -> Result<(), Fault> {
        let mut left = Ok(());
        let brought = self.open().brought.clone();
        for (token, which) in brought {
            match revoke(client, &token, which).await {
                Answer::Fault(Fault::Refused(why)) => self.open().doubt = Some(why),
                Answer::Fault(fault) => {
                    left = left.and(Err(fault));
                    continue;
                }
                _ => {}
            }
            self.open().brought.retain(|(one, _)| !Arc::ptr_eq(one, &token));
        }
        left
    }
}

/// Shows a refresh token whose end was asked for, and ends what that brings.
pub(super) async fn show(client: &Client<'_>, old: &Secret, showings: &Showings) -> Answer {
    let old = match text(old) {
        Ok(old) => old,
        Err(failure) => return Answer::Fault(failure.fault()),
    };
    let showing = showings.of(old);
    let unended = !showing.open().brought.is_empty();
    let shown = if unended { Ok(()) } else { showing.show(client, old).await };
    let ended = match shown {
        Ok(()) => showing.end(client).await,
        Err(fault) => Err(fault),
    };
    match ended {
        Ok(()) => showings.close(old, showing.open().doubt.take()),
        Err(fault) => Answer::Fault(fault),
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
