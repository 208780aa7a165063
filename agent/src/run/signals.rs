//! Signals: the first SIGTERM or SIGINT asks the agent to stop, the second ends it at once (INTERFACE 2).
use super::start::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Listens on a thread of its own until the process ends.
pub(super) fn listen(stopper: Stopper) {
    let mut signals = match Signals::new([SIGTERM, SIGINT, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(
                "signals cannot be caught ({error}): SIGTERM will end the agent without a clean stop"
            );
            return;
        }
    };
    let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => tracing::info!("SIGHUP is ignored: there is nothing to reload yet"),
                _ if asked => {
                    tracing::warn!("second signal: ending at once; a restart goes on from what is durable");
                    std::process::exit(1);
                }
                _ => {
                    asked = true;
                    tracing::info!("stopping: everything read becomes durable first");
                    stopper.stop();
                }
            }
        }
    });
    if let Err(error) = thread {
        tracing::warn!("no thread for signals: {error}");
    }
}
