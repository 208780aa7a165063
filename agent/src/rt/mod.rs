//! rt: the facade over the two runtimes, glommio and a tokio LocalSet per pinned thread.
