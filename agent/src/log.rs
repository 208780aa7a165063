//! log: the agent's own log, on standard error only.
//!
//! Promises: a log line never stops the agent, whatever becomes of standard error; a repeating kind is said at most
//! once a minute, with its count; lines of the `log` crate come along, glommio's harmless complaint does not.
//! Must not know: records. Their content is said at DEBUG and below only.
use crate::config::{LogFormat, LogLevel};
use crate::rt::HARMLESS;
use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// How often a repeating kind is said.
const PAUSE: Duration = Duration::from_secs(60);

/// Starts the log of this process. A second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(format == LogFormat::Text && io::IsTerminal::is_terminal(&io::stderr()))
        .log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // It fails only where a log has been started before: in tests.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter(level))).try_init();
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level).with_target(HARMLESS, level.min(LevelFilter::ERROR))
}

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// From here on a panic is logged and ends the process with SIGABRT: a bug must not run on with half a state.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_string();
        if CAUGHT.get() {
            tracing::warn!("thread {name}: {panic} (caught)");
            return;
        }
        tracing::error!("this is a bug: thread {name}: {panic}");
        if !tracing::dispatcher::has_been_set() {
            crate::cli::complain(&format!("edgepush: this is a bug: thread {name}: {panic}\n"));
        }
        std::process::abort();
    }));
}

/// Runs `inside`, whose panic its caller catches: the one wrapper around glommio's blocking pool (INTERFACE 9).
pub fn caught<T>(inside: impl FnOnce() -> T + std::panic::UnwindSafe) -> std::thread::Result<T> {
    let before = CAUGHT.replace(true);
    let done = std::panic::catch_unwind(inside);
    CAUGHT.set(before);
    done
}

/// A kind of log line that may repeat; one `static` a place, see [`once_a_minute!`](crate::once_a_minute).
#[derive(Debug)]
pub struct Kind {
    /// When it may be said again, ms since the first use of any kind.
    next: AtomicU64,
    /// How often it happened since it was said.
    unsaid: AtomicU64,
}

impl Kind {
    /// A kind that has not happened yet.
    pub const fn new() -> Kind {
        Kind { next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// It happened: how often since it was last said, when it is to be said now.
    pub fn happened(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.happened_at(START.get_or_init(Instant::now).elapsed())
    }

    /// As [`Kind::happened`], at a given monotonic time.
    pub fn happened_at(&self, now: Duration) -> Option<u64> {
        let now = now.as_millis() as u64;
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        let later = now + PAUSE.as_millis() as u64;
        let first = now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        first.then(|| self.unsaid.swap(0, Ordering::Relaxed))
    }
}

impl Default for Kind {
    fn default() -> Kind {
        Kind::new()
    }
}

/// Says something at most once a minute, with how often it happened since: `once_a_minute!(warn, path, "gone")`.
/// The kind is the place in the code; keep a [`Kind`] of your own where each thing is a kind (a source, a job).
#[macro_export]
macro_rules! once_a_minute {
    ($level:ident, $($said:tt)+) => {{
        static KIND: $crate::log::Kind = $crate::log::Kind::new();
        if let Some(count) = KIND.happened() {
            ::tracing::$level!(count, $($said)+);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeating_kind_is_said_once_a_minute_with_its_count() {
        let kind = Kind::new();
        let at = |s: u64| kind.happened_at(Duration::from_secs(s));
        assert_eq!(at(5), Some(1));
        assert_eq!((at(6), at(30), at(64)), (None, None, None));
        assert_eq!(at(65), Some(4));
        assert_eq!(at(66), None);
        assert_eq!(at(1000), Some(2));
    }

    #[test]
    fn the_harmless_complaint_is_left_out() {
        use tracing::Level;
        let filter = filter(LogLevel::Debug);
        assert!(!filter.would_enable(HARMLESS, &Level::WARN));
        let other = HARMLESS.replace("sys::uring", "executor");
        assert!(filter.would_enable(&other, &Level::WARN));
        assert!(filter.would_enable("edgepush::run", &Level::DEBUG));
        assert!(!filter.would_enable("edgepush::run", &Level::TRACE));
    }

    #[test]
    fn a_caught_panic_does_not_abort() {
        assert!(caught(|| panic!("expected by this test")).is_err());
        assert_eq!(caught(|| 7).ok(), Some(7));
        assert!(!CAUGHT.get());
    }
}
