//! The `oneiric` binary. Everything is in the library, so that tests can run it without a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    let env = oneiric_cli::Env::new(std::env::vars_os());
    oneiric_cli::Io::with_process(|io| oneiric_cli::run(std::env::args_os(), &env, io)).into()
}
