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

/// The agent is alive; to be said each [`watchdog_interval`], and only while [`crate::api::health::Health::stuck`]
/// is empty.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be said: a third of what systemd waits; `None` = it does not wait.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 3)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        crate::once_a_minute!(warn, %error, "systemd cannot be told");
    }
}
