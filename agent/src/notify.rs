//! notify: what systemd is told: ready, stopping, alive.
//!
//! Promises: without systemd nothing happens; a message that cannot be sent stops nothing.
//! Must not know: why the agent is ready or alive.
use sd_notify::NotifyState;
use std::time::Duration;

/// The agent is ready: ledger and sources are open.
pub fn ready(text: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(text)]);
}

/// The agent stops, and may take so long.
pub fn stopping(timeout: Duration) {
    let usec = u32::try_from(timeout.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(usec)]);
}

/// The agent is alive; to be said each second, and only while every shard ticks.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        crate::once_a_minute!(warn, %error, "systemd cannot be told");
    }
}
