//! Signals: the first Ctrl-C stops a run in good order, the second leaves at once, and a lost
//! terminal changes nothing.

use std::process;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use super::exit;
use super::failure::Failure;
use super::terminal;
use crate::engine::call::Told;

/// Listens from now on, for the life of the process. [`Told::Stop`] comes once.
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn listen() -> Result<mpsc::UnboundedReceiver<Told>, Failure> {
    let handler = |kind| {
        unix::signal(kind)
            .map_err(|error| Failure::own(format!("signals cannot be heard: {error}")))
    };
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    // Having a handler is what keeps the default, death, away.
    let mut hangup = handler(SignalKind::hangup())?;
    let (signals, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => if signals.send(()).is_err() { return },
                _ = terminate.recv() => if signals.send(()).is_err() { return },
                _ = hangup.recv() => {}
            }
        }
    });
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        if obey(heard, tell, terminal::say).await {
            // Nothing is lost: what happened is in the journal, and a resume takes it up.
            process::exit(i32::from(exit::STOPPED));
        }
    });
    Ok(told)
}

/// A file that may grow no further ends a process by default. Here it is a failed write like that
/// of a full disk: a contain goes on revoking. Fails only where the system knows no such signal.
pub(crate) fn outlive_full_disks() {
    let _ = unix::signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

/// Passes the first signal on. True at the second; false where nothing is heard any more.
async fn obey(
    mut heard: mpsc::UnboundedReceiver<()>,
    tell: mpsc::UnboundedSender<Told>,
    say: impl Fn(&str),
) -> bool {
    if heard.recv().await.is_none() {
        return false;
    }
    // A run that has ended meanwhile needs no telling.
    let _ = tell.send(Told::Stop);
    say("stopping: revocations under way finish, nothing new is issued; again leaves at once");
    heard.recv().await.is_some()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_first_signal_stops_and_the_second_leaves() {
        let (signals, heard) = mpsc::unbounded_channel();
        let (tell, mut told) = mpsc::unbounded_channel();
        let said = RefCell::new(Vec::new());
        let say = |text: &str| said.borrow_mut().push(text.to_owned());
        let mut obeying = Box::pin(obey(heard, tell, say));

        assert!(obeying.as_mut().now_or_never().is_none());
        assert!(told.try_recv().is_err());

        signals.send(()).unwrap();
        assert!(obeying.as_mut().now_or_never().is_none());
        assert_eq!(told.try_recv(), Ok(Told::Stop));
        assert_eq!(said.borrow().len(), 1);

        signals.send(()).unwrap();
        assert_eq!(obeying.as_mut().now_or_never(), Some(true));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn silence_never_leaves() {
        for heard_before in [0, 1] {
            let (signals, heard) = mpsc::unbounded_channel();
            let (tell, _told) = mpsc::unbounded_channel();
            for _ in 0..heard_before {
                signals.send(()).unwrap();
            }
            drop(signals);
            assert_eq!(obey(heard, tell, |_| ()).now_or_never(), Some(false));
        }
    }
}
