//! Where the binary under test is. Tests must not build it themselves: two builds at once wait for
//! each other's lock on the target directory.

use std::path::PathBuf;

/// The `oneiric` binary: what `ONEIRIC_BIN` names, else the one built with these tests.
pub fn path() -> PathBuf {
    if let Some(named) = std::env::var_os("ONEIRIC_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().expect("a test knows where it is");
    // .../target/debug/deps/it-0123456789abcdef
    let built = test
        .parent()
        .and_then(|deps| deps.parent())
        .map(|profile| profile.join("oneiric"));
    match built {
        Some(path) if path.is_file() => path,
        _ => panic!("there is no binary to test; build it first: cargo build -p oneiric-cli"),
    }
}
