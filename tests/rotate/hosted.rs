//! A server inside this process, on a thread of its own: the test waits for the binary meanwhile.

use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};

/// A fake, served while this lives.
pub(crate) struct Hosted<T> {
    fake: T,
    _runtime: Runtime,
}

impl<T> Hosted<T> {
    pub(crate) fn start(fake: impl Future<Output = T>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { fake: runtime.block_on(fake), _runtime: runtime }
    }
}

impl<T> Deref for Hosted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fake
    }
}

/// An answer to a question asked of a server directly.
pub(crate) fn ask<T>(question: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(question)
}
