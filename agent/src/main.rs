//! The `edgepush` binary: one match on the command, and the only place that decides an exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    eprintln!("edgepush: the command line is not built yet");
    std::process::ExitCode::from(2)
}
