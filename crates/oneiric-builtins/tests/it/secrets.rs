//! The keepers of secrets: what they give, and what they refuse.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use oneiric_builtins::{EnvSecrets, FileSecrets};
use oneiric_core::Coded;
use oneiric_domains::{Secret, SecretError, SecretProvider};
use tempfile::TempDir;

/// A private directory, and the provider of what is in it.
struct Kept {
    directory: TempDir,
    provider: FileSecrets,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        chmod(directory.path(), 0o700);
        let provider = FileSecrets::new(directory.path());
        Self {
            directory,
            provider,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(content.as_ref()).unwrap();
        chmod(&path, 0o600);
        path
    }

    async fn fetch(&self, name: &str) -> Result<Secret, SecretError> {
        self.provider.fetch(name).await
    }

    async fn refused(&self, name: &str) -> (&'static str, String) {
        let error = self.fetch(name).await.unwrap_err();
        (error.code(), error.to_string())
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_private_file_is_a_secret_without_its_last_line_end() {
    let kept = Kept::new();
    for (content, secret) in [
        ("token", "token"),
        ("token\n", "token"),
        ("token\r\n", "token"),
        ("two\nlines\n\n", "two\nlines\n"),
        (" spaces ", " spaces "),
    ] {
        kept.file("token", content);
        assert_eq!(kept.fetch("token").await.unwrap().expose(), secret);
    }
    chmod(&kept.path("token"), 0o400);
    assert!(kept.fetch("token").await.is_ok());
}

#[tokio::test]
async fn a_file_that_others_have_rights_to_is_refused() {
    let kept = Kept::new();
    let path = kept.file("token", "hunter2");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666] {
        chmod(&path, mode);
        let (code, message) = kept.refused("token").await;
        assert_eq!(code, "domains.secret_unsafe", "{mode:o}");
        assert!(message.contains(&format!("{mode:04o}")), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_refused() {
    let kept = Kept::new();
    kept.file("token", "hunter2");
    for mode in [0o777, 0o1777, 0o720, 0o702] {
        chmod(kept.directory.path(), mode);
        let (code, message) = kept.refused("token").await;
        assert_eq!(code, "domains.secret_unsafe", "{message}");
    }
    chmod(kept.directory.path(), 0o755);
    assert!(kept.fetch("token").await.is_ok());
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_and_nothing_is_waited_for() {
    let kept = Kept::new();
    kept.file("real", "hunter2");
    symlink(kept.path("real"), kept.path("link")).unwrap();
    fs::create_dir(kept.path("directory")).unwrap();
    let pipe = rustix::fs::Mode::from(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, kept.path("pipe"), pipe).unwrap();
    let socket = kept.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for name in ["link", "directory", "pipe", "socket"] {
        let (code, message) = kept.refused(name).await;
        assert_eq!(code, "domains.secret_unsafe", "{name}: {message}");
    }
}

#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    let kept = Kept::new();
    let path = kept.file("token", "hunter2");
    // Only root can give a file away; elsewhere there is no such file to try it with.
    if chown(&path, Some(12_345), None).is_err() {
        assert!(!rustix::process::geteuid().is_root());
        return;
    }
    let (code, message) = kept.refused("token").await;
    assert_eq!(code, "domains.secret_unsafe");
    assert!(message.contains("12345"), "{message}");
    chown(&path, Some(0), None).unwrap();
    chown(kept.directory.path(), Some(12_345), None).unwrap();
    assert_eq!(kept.refused("token").await.0, "domains.secret_unsafe");
}

#[tokio::test]
async fn a_name_cannot_lead_out_of_the_directory() {
    let kept = Kept::new();
    fs::create_dir(kept.path("inner")).unwrap();
    chmod(&kept.path("inner"), 0o700);
    kept.file("token", "hunter2");
    let inner = FileSecrets::new(kept.path("inner"));
    for name in [
        "../token",
        "..",
        ".",
        "/etc/passwd",
        "a/../../token",
        "inner/x",
        "a\0b",
        ".hidden",
        "",
    ] {
        let error = inner.fetch(name).await.unwrap_err();
        assert_eq!(error.code(), "domains.secret_unusable", "{name:?}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_by_its_code() {
    let kept = Kept::new();
    kept.file("empty", "");
    kept.file("line", "\n");
    kept.file("binary", [0xff, 0xfe]);
    kept.file("large", vec![b'a'; 64 * 1024 + 1]);
    kept.file("largest", vec![b'a'; 64 * 1024]);
    for name in ["empty", "line", "binary", "large"] {
        assert_eq!(
            kept.refused(name).await.0,
            "domains.secret_unusable",
            "{name}"
        );
    }
    assert_eq!(
        kept.fetch("largest").await.unwrap().expose().len(),
        64 * 1024
    );
    assert_eq!(kept.refused("absent").await.0, "domains.secret_not_found");
    let nowhere = FileSecrets::new(kept.path("nowhere"));
    let error = nowhere.fetch("token").await.unwrap_err();
    assert_eq!(error.code(), "domains.secret_not_found");
    let no_directory = FileSecrets::new(kept.path("largest"));
    let error = no_directory.fetch("token").await.unwrap_err();
    assert_eq!(error.code(), "domains.secret_unusable");
}

#[tokio::test]
async fn a_file_that_is_exchanged_is_read_anew() {
    let kept = Kept::new();
    kept.file("token", "first");
    assert_eq!(kept.fetch("token").await.unwrap().expose(), "first");
    let next = kept.file("next", "second");
    fs::rename(next, kept.path("token")).unwrap();
    assert_eq!(kept.fetch("token").await.unwrap().expose(), "second");
}

#[tokio::test]
async fn a_variable_is_a_secret_if_it_is_text_and_not_empty() {
    let secrets = EnvSecrets::new([
        ("TOKEN".into(), "hunter2".into()),
        ("EMPTY".into(), "".into()),
        ("BINARY".into(), OsString::from_vec(vec![0xff])),
        ("LARGE".into(), "a".repeat(64 * 1024 + 1).into()),
    ]);
    assert_eq!(secrets.name(), "env");
    assert_eq!(secrets.fetch("TOKEN").await.unwrap().expose(), "hunter2");
    for (name, code) in [
        ("EMPTY", "domains.secret_not_found"),
        ("ABSENT", "domains.secret_not_found"),
        ("BINARY", "domains.secret_unusable"),
        ("LARGE", "domains.secret_unusable"),
    ] {
        assert_eq!(
            secrets.fetch(name).await.unwrap_err().code(),
            code,
            "{name}"
        );
    }
    assert!(!format!("{secrets:?}").contains("hunter2"));
}
