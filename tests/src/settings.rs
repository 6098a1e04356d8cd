//! Settings files that several scenarios use.

/// Memory wins, file can take over, `flaky` fails its probe.
pub const CACHES: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "memory"
factory = "oneiric.builtins:memory_cache"
priority = 20

[[candidates]]
slot = "adapter/cache"
provider = "file"
factory = "oneiric.builtins:file_cache"
priority = 10

[[candidates]]
slot = "adapter/cache"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"
fallback = true

[[candidates]]
slot = "service/clock"
provider = "system"
factory = "oneiric.builtins:system_clock"

[providers."adapter/cache".file]
directory = "entries"

[providers."adapter/cache".flaky]
probe = "critical"
"#;
