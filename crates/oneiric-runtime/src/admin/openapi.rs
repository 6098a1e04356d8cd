//! The OpenAPI document, made of the route table and of the documents' own types, so that it cannot describe a route,
//! a field or a role that is not there. `docs/reference/openapi.json` is this, written down by `cargo xtask docs`.

use oneiric_core::{Domain, Provider, Slot};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::table::{Access, Gives, Param, Row, Verb, rows};
use crate::api::{ErrorDoc, EventDoc, MissedDoc, ProcessEvent};

/// What each code means, as the reference says it.
const CODES: &str = include_str!("../../../../docs/reference/errors.md");

/// How a request can be refused whatever it is about: status, codes, and for which routes.
const REFUSALS: &[(u16, &[&str], For)] = &[
    (
        400,
        &["runtime.request_invalid", "runtime.request_unreadable"],
        For::All,
    ),
    (401, &["runtime.unauthenticated"], For::Closed),
    (403, &["runtime.role_denied"], For::Operators),
    (405, &["runtime.method_not_allowed"], For::All),
    (408, &["runtime.body_late"], For::Changes),
    (413, &["runtime.body_too_large"], For::Changes),
    (422, &["runtime.idempotency_mismatch"], For::Changes),
    (
        423,
        &[
            "runtime.writes_exhausted",
            "runtime.calls_exhausted",
            "runtime.streams_exhausted",
            "lifecycle.busy",
        ],
        For::Closed,
    ),
    (431, &["runtime.header_too_large"], For::All),
    (500, &["runtime.internal"], For::All),
    (504, &["runtime.request_late"], For::All),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    All,
    /// All that one has to be let in for.
    Closed,
    Operators,
    Changes,
}

impl For {
    fn is(self, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Closed => row.access != Access::Open,
            Self::Operators => row.access == Access::Operate,
            Self::Changes => row.verb == Verb::Post,
        }
    }
}

/// Returns the OpenAPI 3.1 document of the admin API.
#[must_use]
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let error = generator.subschema_for::<ErrorDoc>().to_value();
    // Those that parameters or a stream refer to, and no document need.
    generator.subschema_for::<Slot>();
    generator.subschema_for::<Domain>();
    generator.subschema_for::<Provider>();
    generator.subschema_for::<EventDoc>();
    generator.subschema_for::<MissedDoc>();
    generator.subschema_for::<ProcessEvent>();
    let mut paths = Map::new();
    for row in rows() {
        let verb = match row.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(verb.to_owned(), operation(row, &mut generator, &error));
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oneiric admin API",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "https://{address}",
            "description": "Where `admin.tcp.listen` says; over the Unix socket the same paths, without TLS or a token.",
            "variables": {"address": {"default": "127.0.0.1:8443"}},
        }],
        "security": [{"bearer": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "headers": headers(),
            "parameters": common_parameters(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `[[admin.tokens]]`."},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate of `admin.tcp.client_ca` with a name in `[admin.client_roles]`.",
                },
            },
        },
    });
    plain(&mut document);
    document
}

const ABOUT: &str = "Looks at and changes a running Oneiric process. Every document names its schema and only ever \
grows: ignore fields you do not know. A refusal is an `ErrorDoc`; its `code` is stable, its `message` is not, and its \
`request_id` finds the request in the log. The role `read` may use whatever is marked `x-oneiric-role: read`, the role \
`operate` everything; over the Unix socket everybody who is let in operates.";

fn operation(row: &Row, generator: &mut SchemaGenerator, error: &Value) -> Value {
    let mut parameters: Vec<Value> = row.params.iter().map(parameter).collect();
    parameters.push(reference("parameters", "RequestId"));
    if row.verb == Verb::Post {
        parameters.push(reference("parameters", "IdempotencyKey"));
    }
    if row.path == "/v1/events" {
        parameters.push(reference("parameters", "LastEventId"));
    }
    let mut operation = json!({
        "operationId": name(row),
        "summary": row.summary,
        "x-oneiric-role": match row.access {
            Access::Open => "none",
            Access::Read => "read",
            Access::Operate => "operate",
        },
        "parameters": parameters,
        "responses": responses(row, generator, error),
    });
    let Some(fields) = operation.as_object_mut() else {
        return operation;
    };
    if row.access == Access::Open {
        fields.insert("security".into(), json!([]));
    }
    if let Some(document) = row.takes {
        let schema = (document.schema)(generator).to_value();
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        fields.insert("requestBody".into(), body);
    }
    operation
}

/// `get_v1_status`.
fn name(row: &Row) -> String {
    let verb = match row.verb {
        Verb::Get => "get",
        Verb::Post => "post",
    };
    format!("{verb}{}", row.path.replace(['/', '.'], "_"))
}

fn responses(row: &Row, generator: &mut SchemaGenerator, error: &Value) -> Value {
    let mut responses = Map::new();
    let mut refusals: Vec<(u16, String)> = Vec::new();
    for (status, codes, routes) in REFUSALS {
        if routes.is(row) {
            let codes: Vec<_> = codes.iter().map(|code| meaning(code)).collect();
            refusals.push((*status, codes.join("\n")));
        }
    }
    // What it is about: a slot that is not there, a component that says no, one that is away.
    for (status, about) in [
        (
            403,
            "What was asked for is not allowed; `code` says by what.",
        ),
        (404, "What was asked for is not there; `code` says what."),
        (
            409,
            "A change was not made, and everything is as it was; `code` says why.",
        ),
        (
            503,
            "What is needed is away for now; trying again may help.",
        ),
    ] {
        if row.access != Access::Open && refusals.iter().all(|(known, _)| *known != status) {
            refusals.push((status, about.to_owned()));
        }
    }
    for (status, description) in refusals {
        let mut response = json!({
            "description": description,
            "headers": {"X-Request-Id": reference("headers", "RequestId")},
            "content": {"application/json": {"schema": error}},
        });
        let named = response.get_mut("headers").and_then(Value::as_object_mut);
        if let Some(headers) = named {
            match status {
                401 => headers.insert(
                    "WWW-Authenticate".into(),
                    reference("headers", "Authenticate"),
                ),
                405 => headers.insert("Allow".into(), reference("headers", "Allow")),
                _ => None,
            };
        }
        responses.insert(status.to_string(), response);
    }
    let mut headers = json!({"X-Request-Id": reference("headers", "RequestId")});
    if row.verb == Verb::Post
        && let Some(headers) = headers.as_object_mut()
    {
        let replayed = reference("headers", "IdempotencyReplayed");
        headers.insert("Idempotency-Replayed".into(), replayed);
    }
    match row.gives {
        Gives::Other(media_type) => {
            let schema = match media_type {
                "application/json" => json!({"type": "object"}),
                _ => json!({"type": "string"}),
            };
            let mut content = Map::new();
            content.insert(media_type.to_owned(), json!({"schema": schema}));
            let done = json!({"description": "Done.", "headers": headers, "content": content});
            responses.insert("200".into(), done);
        }
        Gives::Json(document, statuses) => {
            let schema = (document.schema)(generator).to_value();
            let done = |schema: Value, description: &str| {
                json!({
                    "description": description,
                    "headers": headers,
                    "content": {"application/json": {"schema": schema}},
                })
            };
            for status in statuses {
                let either = json!({"anyOf": [schema, error]});
                let not_so = done(either, "The same document, and the answer it gives is no.");
                responses.insert(status.to_string(), not_so);
            }
            responses.insert("200".into(), done(schema, "Done."));
        }
    }
    Value::Object(responses)
}

/// A code and what it means.
fn meaning(code: &str) -> String {
    let start = format!("| `{code}` | ");
    let row = CODES.lines().find_map(|line| line.strip_prefix(&start));
    let meaning = row.and_then(|row| row.split(" | ").next());
    format!(
        "`{code}`: {}",
        meaning.unwrap_or("see the reference of codes.")
    )
}

fn parameter(param: &Param) -> Value {
    let (schema, about) = about(param.name);
    let schema = if param.many {
        json!({"type": "array", "items": schema})
    } else {
        schema
    };
    json!({
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": about,
        "schema": schema,
    })
}

/// What a parameter of this name is, wherever it stands: one name, one meaning.
fn about(name: &str) -> (Value, &'static str) {
    let text = || json!({"type": "string"});
    match name {
        "slot" => (reference("schemas", "Slot"), "Only this slot."),
        "domain" => (reference("schemas", "Domain"), "Only this domain."),
        "provider" => (reference("schemas", "Provider"), "Only this provider."),
        "capability" => (text(), "A capability that is required."),
        "any" => (
            json!({"type": "boolean"}),
            "Whether one of the capabilities is enough.",
        ),
        "what_if" => (
            json!({"type": "string", "examples": ["down=memory"]}),
            "A change to be assumed: `select=`, `without=` or `down=PROVIDER`, `priority:PROVIDER=N`, `unselect=LAYER`.",
        ),
        "scope" => (
            json!({"type": "string", "examples": ["adapter/*", "adapter/cache", "adapter/cache:redis"]}),
            "Only this scope: a domain, a slot or a provider.",
        ),
        "key" => (
            json!({"type": "string", "examples": ["admin.socket"]}),
            "A key of the settings.",
        ),
        _ => (text(), ""),
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn common_parameters() -> Value {
    let name = json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"});
    json!({
        "RequestId": {
            "name": "X-Request-Id",
            "in": "header",
            "description": "An id of the client's for this request; one that is not well-formed is replaced.",
            "schema": {"type": "string"},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Names this change, for one peer and a day: asked again under it, the change is not made again and its answer is given again.",
            "schema": name,
        },
        "LastEventId": {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The event after which the stream is to go on.",
            "schema": {"type": "string"},
        },
    })
}

fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "Finds the request in the log.",
            "schema": {"type": "string"},
        },
        "IdempotencyReplayed": {
            "description": "`true` when the answer was given before.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "Authenticate": {
            "description": "How one can say who one is.",
            "schema": {"type": "string"},
        },
        "Allow": {
            "description": "The methods that the path takes.",
            "schema": {"type": "string"},
        },
    })
}

/// Takes the links of rustdoc out of descriptions.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => *text = unlinked(text),
                    value => plain(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(plain),
        _ => {}
    }
}

/// ``[`a`](b)`` and ``[`a`]`` are `` `a` ``.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, behind)) = after.split_once("`]") else {
            break;
        };
        let name = name.rsplit("::").next().unwrap_or(name);
        out.push_str(&format!("{before}`{name}`"));
        let target = behind
            .strip_prefix('(')
            .and_then(|target| target.split_once(')'));
        rest = target.map_or(behind, |(_, behind)| behind);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_table_is_described() {
        let document = openapi();
        for row in rows() {
            for param in row.params {
                assert_ne!(about(param.name).1, "", "{} {}", row.path, param.name);
            }
        }
        for (_, codes, _) in REFUSALS {
            for code in *codes {
                assert!(
                    !meaning(code).ends_with("see the reference of codes."),
                    "{code}"
                );
            }
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in [
            "StatusDoc",
            "SwapRequestDoc",
            "ErrorDoc",
            "Slot",
            "EventDoc",
            "ProcessEvent",
        ] {
            assert!(schemas.contains_key(name), "{name}");
        }
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(!text.contains("](") && !text.contains("_for_"), "{text}");
    }

    #[test]
    fn links_become_names() {
        assert_eq!(
            unlinked("See [`schema::LIST`](super::schema::LIST) and [`X`]."),
            "See `LIST` and `X`."
        );
    }
}
