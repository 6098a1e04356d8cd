//! Any bytes as settings: never a crash, and every fault within the file.

use oneiric_runtime::Sources;
use proptest::{collection, prelude::*};

/// Pieces that formats are made of, so that more than the first byte is reached.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("run".to_owned()),
        Just("grace_ms".to_owned()),
        Just("[[candidates]]\n".to_owned()),
        Just("providers:\n  a/b:\n    c: ".to_owned()),
        Just("{\"run\": ".to_owned()),
        Just("*a ".to_owned()),
        Just("&a ".to_owned()),
        Just("<<: ".to_owned()),
        Just("\"\\ud83d\"".to_owned()),
        "[\\[\\]{}:,=\"'#\\-\\n\\t |>&*!?%@`0-9.e+]{1,3}",
        "[a-zäß€😀\\u{feff}]{1,3}",
    ];
    let pieces = collection::vec(piece, 0..30);
    let bytes = collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        4 => pieces.prop_map(|pieces| pieces.concat().into_bytes()),
        1 => bytes,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn faults_have_a_line_within_the_file(bytes in text()) {
        let dir = tempfile::tempdir().unwrap();
        let shown = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = shown.split('\n').collect();
        for name in ["o.toml", "o.yaml", "o.json"] {
            let path = dir.path().join(name);
            let mut file = std::fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            let read = Sources::new().file(&path).load();
            let Err(error) = read else { continue };
            prop_assert!(!error.faults().is_empty(), "{}", error);
            for fault in error.faults() {
                let at = fault.at;
                prop_assert!(at.is_some(), "{}: {:?} in {:?}", name, fault, shown);
                let (line, column) = at.unwrap_or_default();
                let length = lines.get(line.wrapping_sub(1)).map(|line| line.chars().count());
                prop_assert!(length.is_some(), "{}: {:?} in {:?}", name, fault, shown);
                let within = (1..=length.unwrap_or_default() + 1).contains(&column);
                prop_assert!(within, "{}: {:?} in {:?}", name, fault, shown);
            }
        }
    }
}

#[test]
fn the_deepest_and_the_longest_files_are_refused_or_read_and_never_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let deep = |open: &str, close: &str, count: usize| {
        format!("{}{}", open.repeat(count), close.repeat(count))
    };
    for (name, text) in [
        ("a.json", deep("[", "]", 500_000)),
        ("b.json", deep("{\"a\":", "}", 100_000)),
        ("a.yaml", deep("[", "]", 100_000)),
        ("b.yaml", format!("a: {}", deep("{a: ", "}", 20_000))),
        ("c.yaml", "- ".repeat(100_000)),
        ("d.yaml", "a".repeat(300_000)),
        ("a.toml", format!("a = {}", deep("[", "]", 500_000))),
    ] {
        let path = dir.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let error = Sources::new().file(&path).load().unwrap_err();
        assert!(!error.faults().is_empty(), "{name}: {error}");
    }
}
