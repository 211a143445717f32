//! Watching a run: an observer that is called, or a stream that is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::engine::progress::Progress;

/// Whoever watches a run. Called in the order of the journal, after the event was written and
/// believed; the run waits for it, so it must not.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn happened(&self, progress: &Progress);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Observer for Nobody {
    fn happened(&self, _progress: &Progress) {}
}

impl<O: Observer + ?Sized> Observer for &O {
    fn happened(&self, progress: &Progress) {
        (**self).happened(progress);
    }
}

/// An observer, and the stream of what it sees. The stream ends with the run; whoever drops it
/// hears nothing more, and the run goes on.
///
/// Nothing is ever left out, and no reader ever delays a revocation: what is not read waits in
/// memory, a few hundred bytes for each answered call.
pub fn watch() -> (Watcher, Events) {
    let (seen, events) = unbounded_channel();
    (Watcher(seen), Events(events))
}

/// The end of a stream that is handed to a run.
#[derive(Debug)]
pub struct Watcher(UnboundedSender<Progress>);

impl Observer for Watcher {
    fn happened(&self, progress: &Progress) {
        // Nobody reads any more.
        let _ = self.0.send(progress.clone());
    }
}

/// What happens in a run, as it happens.
#[derive(Debug)]
pub struct Events(UnboundedReceiver<Progress>);

impl Stream for Events {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Progress>> {
        self.0.poll_recv(cx)
    }
}
