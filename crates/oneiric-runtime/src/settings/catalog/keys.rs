//! The keys themselves.

mod admin;
mod lifecycle;

use oneiric_core::TiePolicy;

use self::{
    admin::{ADMIN, TCP, TOKEN},
    lifecycle::{LIFECYCLE, SLOTS},
};
use super::{
    DAY, Key,
    Kind::{
        Allowlist, Factory, Filter, Flag, Free, Millis, Path, Priority, Provider, Slot, Slots,
        StackLevel, Texts, Word,
    },
    Section,
    field::{Field, Words},
};
use crate::settings::{Activate, ErrorMode, LogFormat, Role};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "",
        title: "In no section",
        doc: "Relative paths, here and below, begin in the directory the process is started in.",
        keys: &[Key::new(
            "state_dir",
            Path,
            Field::Path(|settings| &mut settings.state_dir),
            "Directory of the lock, the admin socket and what outlives the process. Made with mode 0700; one that \
             others can enter is refused. Above it stand `--state-dir` and `ONEIRIC_STATE_DIR`.",
        )],
    },
    Section {
        path: "candidates[]",
        title: "Who can serve which slot",
        doc: "One entry for each candidate. An upper layer that names the same slot and provider changes that entry \
              key by key; other entries are added.",
        keys: CANDIDATE,
    },
    Section {
        path: "selections",
        title: "A choice above every number",
        doc: "One entry a slot: `\"adapter/cache\" = \"file\"`. What an operator selects while the process runs stands \
              above it ([selections](../spec/selections.md)).",
        keys: &[Key::new(
            "selections.<slot>",
            Provider,
            Field::Built,
            "The provider that is to serve the slot, whatever the priorities.",
        )
        .unset("empty")
        .example("\"memory\"")
        .reloads()],
    },
    Section {
        path: "providers",
        title: "Settings of single components",
        doc: "What may stand there is the factory's to say. Text may be a reference to a secret, \
              `secret://PROVIDER/NAME`.",
        keys: &[Key::new(
            "providers.<slot>.<provider>",
            Free,
            Field::Built,
            "The settings of the component that this provider has in this slot.",
        )
        .unset("empty")
        .example("{ max_entries = 1000 }")
        .reloads()],
    },
    Section {
        path: "admin",
        title: "Where operators connect",
        doc: "A Unix socket for the user of the process, and over TCP what the sections below it say.",
        keys: ADMIN,
    },
    Section {
        path: "admin.tcp",
        title: "The same over TCP with TLS",
        doc: "Nothing listens on TCP without this section, and nobody is let in without a token or a certificate.",
        keys: TCP,
    },
    Section {
        path: "admin.tokens[]",
        title: "Bearer tokens that are let in over TCP",
        doc: "One entry for each token, told apart by `name`.",
        keys: TOKEN,
    },
    Section {
        path: "admin.client_roles",
        title: "Client certificates that are let in over TCP",
        doc: "One entry for each certificate: `\"backup.example\" = \"read\"`.",
        keys: &[Key::new(
            "admin.client_roles.<subject>",
            Word(Role::WORDS),
            Field::Built,
            "What the holder of a client certificate with this subject name may do.",
        )
        .reloads()
        .unset("empty")
        .example("\"read\"")],
    },
    Section {
        path: "lifecycle",
        title: "How long each step of a swap may take, and how many probes there are at a time",
        doc: "Durations are in whole milliseconds.",
        keys: LIFECYCLE,
    },
    Section {
        path: "slots.<scope>",
        title: "How slots are looked after",
        doc: "One section for a slot (`[slots.\"adapter/cache\"]`), a domain (`[slots.\"adapter/*\"]`) or every slot \
              (`[slots.\"*\"]`). Of several that fit a slot, the narrowest that states a key holds, key by key.",
        keys: SLOTS,
    },
    Section {
        path: "resolution",
        title: "Who wins between equals",
        doc: "The rules are in [precedence](../spec/precedence.md).",
        keys: RESOLUTION,
    },
    Section {
        path: "run",
        title: "How the process begins and ends",
        doc: "What `oneiric run` does beside serving.",
        keys: RUN,
    },
    Section {
        path: "security",
        title: "What may be loaded",
        doc: "Some modules are blocked whatever stands here.",
        keys: &[Key::new(
            "security.factory_allowlist",
            Allowlist,
            Field::Texts(|settings| &mut settings.factory_allowlist),
            "Factories that candidates may name: exact, or a module prefix. Above it stands \
             `ONEIRIC_FACTORY_ALLOWLIST`.",
        )
        .reloads()],
    },
    Section {
        path: "log",
        title: "What is logged",
        doc: "To stderr.",
        keys: LOG,
    },
    Section {
        path: "secrets",
        title: "Where secrets come from",
        doc: "Wherever a setting is text, `secret://env/NAME` stands for a variable and `secret://file/NAME` for a \
              file, read when the setting is used.",
        keys: SECRETS,
    },
    Section {
        path: "reload",
        title: "When changed settings are put in force",
        doc: "`oneiric reload` and SIGHUP do it at once.",
        keys: RELOAD,
    },
];

const CANDIDATE: &[Key] = &[
    Key::new(
        "candidates[].slot",
        Slot,
        Field::Built,
        "Domain and key, such as `\"adapter/cache\"`.",
    )
    .required()
    .example("\"adapter/cache\"")
    .reloads(),
    Key::new(
        "candidates[].provider",
        Provider,
        Field::Built,
        "The implementation's name, once per slot.",
    )
    .required()
    .example("\"memory\"")
    .reloads(),
    Key::new(
        "candidates[].factory",
        Factory,
        Field::Built,
        "Who builds it, such as `\"oneiric.builtins:memory_cache\"`. It has to be compiled in and allowed.",
    )
    .required()
    .example("\"oneiric.builtins:memory_cache\"")
    .reloads(),
    Key::new(
        "candidates[].priority",
        Priority,
        Field::Built,
        "Higher wins.",
    )
    .unset("`resolution.default_priority`")
    .example("10")
    .reloads(),
    Key::new(
        "candidates[].stack_level",
        StackLevel,
        Field::Built,
        "Decides between equal priorities; higher wins.",
    )
    .unset("0")
    .example("0")
    .reloads(),
    Key::new(
        "candidates[].capabilities",
        Texts,
        Field::Built,
        "What a query can ask for.",
    )
    .unset("`[]`")
    .example("[\"persistent\"]")
    .reloads(),
    Key::new(
        "candidates[].requires",
        Slots,
        Field::Built,
        "Slots that are activated before this one and retired after it.",
    )
    .unset("`[]`")
    .example("[\"service/clock\"]")
    .reloads(),
    Key::new(
        "candidates[].optional_requires",
        Slots,
        Field::Built,
        "Slots that are activated before this one and retired after it, if anybody can serve them.",
    )
    .unset("`[]`")
    .example("[\"adapter/mail\"]")
    .reloads(),
    Key::new(
        "candidates[].fallback",
        Flag,
        Field::Built,
        "Ranks under all candidates that are none.",
    )
    .unset("false")
    .example("false")
    .reloads(),
    Key::new(
        "candidates[].metadata",
        Free,
        Field::Built,
        "Anything; shown, never interpreted.",
    )
    .unset("empty")
    .example("{ owner = \"storage team\" }")
    .reloads(),
];

const RESOLUTION: &[Key] = &[
    Key::new(
        "resolution.ties",
        Word(TiePolicy::WORDS),
        Field::Word {
            set: |settings, word| Words::put(&mut settings.ties, word),
            of: |settings| settings.ties.word(),
        },
        "Who wins between equals: the `newest` or the `oldest` registration, or nobody (`error`).",
    ),
    Key::new(
        "resolution.default_priority",
        Priority,
        Field::Number(|settings| &mut settings.default_priority),
        "The priority of candidates that state none.",
    ),
];

const RUN: &[Key] = &[
    Key::new(
        "run.activate",
        Word(Activate::WORDS),
        Field::Word {
            set: |settings, word| Words::put(&mut settings.activate, word),
            of: |settings| settings.activate.word(),
        },
        "`all` slots at start, or each `on_use`.",
    )
    .reloads(),
    Key::new(
        "run.grace_ms",
        Millis(0..=DAY),
        Field::Millis(|settings| &mut settings.grace),
        "How long a shutdown may take.",
    )
    .reloads(),
    Key::new(
        "run.error_mode",
        Word(ErrorMode::WORDS),
        Field::Word {
            set: |settings, word| Words::put(&mut settings.error_mode, word),
            of: |settings| settings.error_mode.word(),
        },
        "What clients over TCP are told: in `production` no places on this machine and no causes of errors; in \
         `development` both. Over the Unix socket the owner is told everything.",
    )
    .reloads(),
];

const LOG: &[Key] = &[
    Key::new(
        "log.filter",
        Filter,
        Field::MaybeText(|settings| &mut settings.log.filter),
        "Which events, such as `\"warn,oneiric_lifecycle=debug\"`. Above it stands `ONEIRIC_LOG`.",
    )
    .reloads()
    .unset("`\"warn,oneiric=info\"` under `oneiric run`")
    .example("\"warn,oneiric=info\""),
    Key::new(
        "log.format",
        Word(LogFormat::WORDS),
        Field::Word {
            set: |settings, word| Words::put(&mut settings.log.format, word),
            of: |settings| settings.log.format.word(),
        },
        "Lines for people (`human`), or one JSON object a line (`json`).",
    )
    .reloads(),
];

const SECRETS: &[Key] = &[
    Key::new(
        "secrets.ttl_ms",
        Millis(0..=DAY),
        Field::Millis(|settings| &mut settings.secrets.ttl),
        "How long a secret is used before it is fetched anew.",
    )
    .reloads(),
    Key::new(
        "secrets.directory",
        Path,
        Field::MaybePath(|settings| &mut settings.secrets.directory),
        "Directory of the secrets that are files.",
    )
    .unset("`secrets` in the state directory")
    .example("\"/run/secrets\""),
];

const RELOAD: &[Key] = &[
    Key::new(
        "reload.watch",
        Flag,
        Field::Flag(|settings| &mut settings.reload.watch),
        "Whether a changed file is enough.",
    )
    .reloads(),
    Key::new(
        "reload.debounce_ms",
        Millis(0..=DAY),
        Field::Millis(|settings| &mut settings.reload.debounce),
        "How long files must have been quiet.",
    )
    .reloads(),
    Key::new(
        "reload.retry_ms",
        Millis(10..=DAY),
        Field::Millis(|settings| &mut settings.reload.retry),
        "After which time a file that cannot be used is read again.",
    )
    .reloads(),
];
