//! Where operators connect, and who they may be.

use super::super::{
    DAY, Key,
    Kind::{Address, Millis, Number, Path, Secret, Text, Word},
    field::{Field, Words},
};
use crate::settings::Role;

pub(super) const ADMIN: &[Key] = &[
    Key::new(
        "admin.socket",
        Path,
        Field::MaybePath(|settings| &mut settings.admin.socket),
        "The Unix socket, for its owner only. Above it stands `--socket`.",
    )
    .unset("`admin.sock` in the state directory")
    .example("\".oneiric/admin.sock\""),
    Key::new(
        "admin.request_timeout_ms",
        Millis(100..=DAY),
        Field::MaybeMillis(|settings| &mut settings.admin.request_timeout),
        "How long a request may take.",
    )
    .unset("30 s more than all steps of a swap")
    .example("120000")
    .reloads(),
    Key::new(
        "admin.max_connections",
        Number(1..=10_000),
        Field::Count(|settings| &mut settings.admin.max_connections),
        "Connections that are served at one time.",
    ),
];

pub(super) const TCP: &[Key] = &[
    Key::new(
        "admin.tcp.listen",
        Address,
        Field::Built,
        "The address. Others than those of the machine itself can be reached from outside.",
    )
    .required()
    .example("\"127.0.0.1:8443\""),
    Key::new(
        "admin.tcp.certificate",
        Path,
        Field::Built,
        "File of the server's certificate chain (PEM).",
    )
    .required()
    .example("\"/etc/oneiric/tls/server.pem\""),
    Key::new(
        "admin.tcp.key",
        Path,
        Field::Built,
        "File of its private key (PEM).",
    )
    .required()
    .example("\"/etc/oneiric/tls/server.key\""),
    Key::new(
        "admin.tcp.client_ca",
        Path,
        Field::Built,
        "File of the authorities that client certificates must come from (PEM).",
    )
    .example("\"/etc/oneiric/tls/clients.pem\""),
];

pub(super) const TOKEN: &[Key] = &[
    Key::new(
        "admin.tokens[].name",
        Text,
        Field::Built,
        "What the log calls its holder.",
    )
    .reloads()
    .required()
    .example("\"dashboard\""),
    Key::new(
        "admin.tokens[].role",
        Word(Role::WORDS),
        Field::Built,
        "What its holder may do: look (`read`), or look and change (`operate`).",
    )
    .reloads()
    .required()
    .example("\"read\""),
    Key::new(
        "admin.tokens[].token",
        Secret,
        Field::Built,
        "Where the token comes from. The token itself is refused: settings are shown, copied and put under version \
         control.",
    )
    .reloads()
    .required()
    .example("\"secret://file/dashboard-token\""),
];
