//! Which keys a settings file has and what they mean. The reference for people is generated from none of this: it is
//! short enough to be read here.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Activate, Configured, Declared, ErrorMode, LogFormat, Role, Settings, TcpSettings,
    TokenSettings,
    fault::{Fault, Faults, Place},
    section::Section,
    source::{Found, Source},
};
use oneiric_core::{
    Candidate, Coded, FactoryPath, FactoryPolicy, Origin, Provider, Slot, TiePolicy, bounds,
};

const A_SLOT: &str = "a slot such as \"adapter/cache\"";
const A_PROVIDER: &str = "the name of a provider";
/// A day; longer is a typing mistake.
const MAX_MS: u64 = 86_400_000;

/// Reads the whole file, or says everything that is wrong with it.
pub(super) fn settings(text: &str) -> Result<Settings, Faults> {
    let (source, table) = Source::new(text);
    let mut settings = Settings::default();
    if let Some(table) = table {
        let mut root = Section::root(&source, table);
        if let Some(found) = root.string("state_dir") {
            if found.value.is_empty() {
                root.invalid(found.place, &found.key, "it is empty");
            }
            settings.state_dir = found.value.into();
        }
        candidates(&mut root, &mut settings);
        if let Some(section) = root.table("selections") {
            selections(section, &mut settings);
        }
        if let Some(section) = root.table("providers") {
            providers(section, &mut settings);
        }
        for (key, read) in SECTIONS {
            if let Some(mut section) = root.table(key) {
                read(&mut section, &mut settings);
                section.end();
            }
        }
        root.end();
    }
    let faults = source.into_faults();
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(faults)
    }
}

type ReadSection = fn(&mut Section<'_, '_>, &mut Settings);
const SECTIONS: [(&str, ReadSection); 8] = [
    ("admin", admin),
    ("lifecycle", lifecycle),
    ("log", log),
    ("reload", reload),
    ("resolution", resolution),
    ("run", run),
    ("secrets", secrets),
    ("security", security),
];

fn admin(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let admin = &mut settings.admin;
    admin.socket = path(section, "socket");
    admin.request_timeout = section.millis("request_timeout_ms", 100..=MAX_MS);
    if let Some(found) = section.integer("max_connections") {
        match usize::try_from(found.value) {
            Ok(count @ 1..=10_000) => admin.max_connections = count,
            _ => section.invalid(
                found.place,
                &found.key,
                format!("expected 1 to 10000, found {}", found.value),
            ),
        }
    }
    if let Some(mut section) = section.table("tcp") {
        admin.tcp = tcp(&mut section);
        section.end();
    }
    for mut section in section.tables("tokens") {
        admin.tokens.extend(token(&mut section));
        section.end();
    }
    if let Some(section) = section.table("client_roles") {
        for (subject, value) in section.into_words(&ROLES) {
            admin.client_roles.push((subject, value));
        }
    }
}

const ROLES: [(&str, Role); 2] = [("read", Role::Read), ("operate", Role::Operate)];

fn tcp(section: &mut Section<'_, '_>) -> Option<TcpSettings> {
    let listen = section.string("listen").and_then(|found| {
        let address = found.value.parse().ok();
        if address.is_none() {
            let message = format!(
                "expected an address and a port such as \"127.0.0.1:8443\", found {:?}",
                found.value
            );
            section.invalid(found.place, &found.key, message);
        }
        address
    });
    let (certificate, key) = (path(section, "certificate"), path(section, "key"));
    let client_ca = path(section, "client_ca");
    let missing = [
        ("listen", listen.is_none()),
        ("certificate", certificate.is_none()),
        ("key", key.is_none()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        section.missing(key);
    }
    Some(TcpSettings {
        listen: listen?,
        certificate: certificate?,
        key: key?,
        client_ca,
    })
}

fn token(section: &mut Section<'_, '_>) -> Option<TokenSettings> {
    let name = section.string("name");
    let role = section.word("role", &ROLES);
    let token = section.string("token").and_then(|found| {
        if found.value.starts_with("secret://") {
            return Some(found.value);
        }
        let message = "expected a reference such as \"secret://file/NAME\": a token does not belong into settings";
        section.invalid(found.place, &found.key, message);
        None
    });
    let missing = [
        ("name", name.is_none()),
        ("role", role.is_none()),
        ("token", token.is_none()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        section.missing(key);
    }
    Some(TokenSettings {
        name: name?.value,
        role: role?,
        token: token?,
    })
}

/// A path that is not empty.
fn path(section: &mut Section<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let found = section.string(key)?;
    if found.value.is_empty() {
        section.invalid(found.place, &found.key, "it is empty");
    }
    Some(found.value.into())
}

fn log(section: &mut Section<'_, '_>, settings: &mut Settings) {
    settings.log.filter = section.string("filter").map(|found| found.value);
    let words = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    if let Some(format) = section.word("format", &words) {
        settings.log.format = format;
    }
}

fn reload(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let reload = &mut settings.reload;
    if let Some(watch) = section.boolean("watch") {
        reload.watch = watch;
    }
    if let Some(debounce) = section.millis("debounce_ms", 0..=MAX_MS) {
        reload.debounce = debounce;
    }
    if let Some(retry) = section.millis("retry_ms", 10..=MAX_MS) {
        reload.retry = retry;
    }
}

fn secrets(section: &mut Section<'_, '_>, settings: &mut Settings) {
    if let Some(ttl) = section.millis("ttl_ms", 0..=MAX_MS) {
        settings.secrets.ttl = ttl;
    }
    settings.secrets.directory = path(section, "directory");
}

fn lifecycle(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let limits = &mut settings.limits;
    let fields = [
        ("activation_ms", &mut limits.activation),
        ("probe_ms", &mut limits.probe),
        ("hook_ms", &mut limits.hook),
        ("drain_ms", &mut limits.drain),
        ("retire_ms", &mut limits.retire),
    ];
    for (key, field) in fields {
        if let Some(limit) = section.millis(key, 1..=MAX_MS) {
            *field = limit;
        }
    }
}

fn resolution(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let ties = [
        ("newest", TiePolicy::Newest),
        ("oldest", TiePolicy::Oldest),
        ("error", TiePolicy::Error),
    ];
    if let Some(policy) = section.word("ties", &ties) {
        settings.ties = policy;
    }
    let priority = section.integer("default_priority");
    if let Some(priority) = checked(section, priority, bounds::priority) {
        settings.default_priority = priority;
    }
}

fn run(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let words = [("all", Activate::All), ("on_use", Activate::OnUse)];
    if let Some(activate) = section.word("activate", &words) {
        settings.activate = activate;
    }
    if let Some(grace) = section.millis("grace_ms", 0..=MAX_MS) {
        settings.grace = grace;
    }
    let words = [
        ("production", ErrorMode::Production),
        ("development", ErrorMode::Development),
    ];
    if let Some(mode) = section.word("error_mode", &words) {
        settings.error_mode = mode;
    }
}

fn security(section: &mut Section<'_, '_>, settings: &mut Settings) {
    let Some(entries) = section.strings("factory_allowlist") else {
        return;
    };
    for entry in &entries {
        if let Err(error) = FactoryPolicy::new([&entry.value]) {
            section.report(Fault::coded(entry.place, &entry.key, &error));
        }
    }
    settings.factory_allowlist = entries.into_iter().map(|entry| entry.value).collect();
}

fn candidates(root: &mut Section<'_, '_>, settings: &mut Settings) {
    let mut seen: BTreeMap<(Slot, Provider), Place> = BTreeMap::new();
    for mut section in root.tables("candidates") {
        let place = section.place;
        let candidate = candidate(&mut section);
        if let Some(declared) = candidate {
            let (slot, provider) = (
                declared.candidate.slot().clone(),
                declared.candidate.provider().clone(),
            );
            match seen.get(&(slot.clone(), provider.clone())) {
                Some(first) => {
                    let message = format!(
                        "{slot} from '{provider}' is listed in line {} already",
                        first.line
                    );
                    let key = section.key("provider");
                    section.report(Fault::new(place, &key, "core.duplicate_candidate", message));
                }
                None => {
                    seen.insert((slot, provider), place);
                    settings.candidates.push(declared);
                }
            }
        }
        section.end();
    }
}

fn candidate(section: &mut Section<'_, '_>) -> Option<Declared> {
    let slot = section.parsed::<Slot>("slot", A_SLOT);
    let provider = section.parsed::<Provider>("provider", A_PROVIDER);
    let factory = section.parsed::<FactoryPath>(
        "factory",
        "a factory such as \"oneiric.builtins:memory_cache\"",
    );
    let (priority, stack_level) = (section.integer("priority"), section.integer("stack_level"));
    let priority = checked(section, priority, bounds::priority);
    let stack_level = checked(section, stack_level, bounds::stack_level);
    let capabilities = section.strings("capabilities").unwrap_or_default();
    let capabilities = capabilities.into_iter().map(|found| found.value);
    let requires = section.list::<Slot>("requires", A_SLOT);
    let fallback = section.boolean("fallback").unwrap_or(false);
    let metadata = section.json("metadata").unwrap_or_default();
    let missing = [
        ("slot", slot.is_none()),
        ("provider", provider.is_none()),
        ("factory", factory.is_none()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        section.missing(key);
    }
    let (slot, provider, factory) = (slot?, provider?, factory?);
    let mut builder = Candidate::builder(slot.value, provider.value, Origin::settings())
        .factory(factory.value)
        .capabilities(capabilities)
        .fallback(fallback);
    if let Some(priority) = priority {
        builder = builder.priority(priority);
    }
    if let Some(stack_level) = stack_level {
        builder = builder.stack_level(stack_level);
    }
    for slot in requires {
        builder = builder.requires(slot);
    }
    for (key, value) in metadata {
        builder = builder.metadata(key, value);
    }
    Some(Declared {
        candidate: builder.build(),
        key: factory.key,
        place: factory.place,
    })
}

fn checked<E: Coded + std::fmt::Display>(
    section: &Section<'_, '_>,
    found: Option<Found<i64>>,
    check: fn(i64) -> Result<i64, E>,
) -> Option<i64> {
    let found = found?;
    match check(found.value) {
        Ok(value) => Some(value),
        Err(error) => {
            section.report(Fault::coded(found.place, &found.key, &error));
            None
        }
    }
}

fn selections(mut section: Section<'_, '_>, settings: &mut Settings) {
    for (slot, value) in section.entries::<Slot>() {
        if let Some(provider) = section.entry_parsed::<Provider>(value, A_PROVIDER) {
            settings.selections.push((slot.value, provider.value));
        }
    }
}

fn providers(mut section: Section<'_, '_>, settings: &mut Settings) {
    for (slot, value) in section.entries::<Slot>() {
        let Some(mut of_slot) = section.entry_section(value) else {
            continue;
        };
        for (provider, value) in of_slot.entries::<Provider>() {
            if let Some(value) = of_slot.entry_json(value) {
                let Found {
                    value: name,
                    place,
                    key,
                } = provider;
                let configured = Configured { value, key, place };
                settings
                    .providers
                    .insert((slot.value.clone(), name), configured);
            }
        }
    }
}
