//! A JSON Schema of settings files, from the catalog, for editors. It accepts whatever one layer may say: what is
//! missing in a file may stand in another, so little is required.

use serde_json::{Map, Value, json};

use super::catalog::{self, Key, Kind, Names, Shape};

const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$";
const SLOT: &str = "^[^/]+/[^/]+$";
const SCOPE: &str = "^(\\*|[^/]+/[^/:]+)$";

/// Returns a JSON Schema (2020-12) of settings files, as it is in `docs/reference/settings.schema.json`.
#[must_use]
pub fn settings_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Oneiric settings",
        "description": "One layer of settings, as TOML, YAML or JSON.",
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, of(catalog::root(), "")) {
        schema.extend(root);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let named =
                json!({"type": "string", "description": "Where this schema is, for editors."});
            properties.insert(catalog::SCHEMA_KEY.to_owned(), named);
        }
    }
    schema
}

/// The schema of what stands at `path`, with what the catalog says of that section.
fn of(shape: &Shape, path: &str) -> Value {
    let mut schema = bare(shape, path);
    let section = catalog::sections().iter();
    let mut section = section.filter(|section| !path.is_empty() && section.path == path);
    if let Some(section) = section.next() {
        let description = format!("{}. {}", section.title, section.doc);
        put(&mut schema, "description", description.into());
    }
    schema
}

fn bare(shape: &Shape, path: &str) -> Value {
    let within = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match shape {
        Shape::Leaf(key) => leaf(key),
        Shape::Table(children) => {
            let properties = children
                .iter()
                .map(|(name, child)| ((*name).to_owned(), below(child, &within(name))));
            json!({
                "type": "object",
                "properties": properties.collect::<Map<_, _>>(),
                "additionalProperties": false,
            })
        }
        Shape::Map(names, inner) => {
            let (pattern, inside) = match names {
                Names::Slots => (Some(SLOT), within("<slot>")),
                Names::Providers => (Some(NAME), within("<provider>")),
                Names::Scopes => (Some(SCOPE), within("<scope>")),
                Names::Any => (None, within("<>")),
            };
            let inside = of(inner, &inside);
            // A section that there is one of for each name is described there; the map is the same to a reader.
            let description = inside.get("description").cloned();
            let mut schema = json!({"type": "object", "additionalProperties": inside});
            if let Some(description) = description {
                put(&mut schema, "description", description);
            }
            if let Some(pattern) = pattern {
                put(&mut schema, "propertyNames", json!({"pattern": pattern}));
            }
            schema
        }
        Shape::List(identity, inner) => {
            let mut items = of(inner, "<>");
            put(&mut items, "required", json!(identity));
            json!({"type": "array", "items": items})
        }
    }
}

/// A list has its section in the catalog with brackets behind its name.
fn below(shape: &Shape, path: &str) -> Value {
    match shape {
        Shape::List(..) => of(shape, &format!("{path}[]")),
        _ => of(shape, path),
    }
}

fn leaf(key: &Key) -> Value {
    let mut schema = match &key.kind {
        Kind::Text | Kind::Filter | Kind::Address => json!({"type": "string"}),
        Kind::Path => json!({"type": "string", "minLength": 1}),
        Kind::Secret => json!({"type": "string", "pattern": "^secret://"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Number(_)
        | Kind::Millis(_)
        | Kind::Bytes(_)
        | Kind::Percent
        | Kind::Priority
        | Kind::StackLevel => {
            let mut schema = json!({"type": "integer"});
            if let Some((least, most)) = key.kind.range() {
                put(&mut schema, "minimum", least.into());
                put(&mut schema, "maximum", most.into());
            }
            schema
        }
        Kind::Word(words) => json!({"enum": words}),
        Kind::Texts | Kind::Allowlist => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Slots => json!({"type": "array", "items": {"type": "string", "pattern": SLOT}}),
        Kind::Slot => json!({"type": "string", "pattern": SLOT}),
        Kind::Provider => json!({"type": "string", "pattern": NAME}),
        Kind::Factory => json!({"type": "string", "pattern": "^[^:]+:[^:]+$"}),
        Kind::Free => json!({"type": "object"}),
    };
    let unit = key.kind.unit().map(|unit| format!(" In {unit}."));
    let description = format!("{}{}", key.doc, unit.unwrap_or_default());
    put(&mut schema, "description", description.into());
    if let Some(default) = key.default() {
        put(&mut schema, "default", default);
    }
    schema
}

fn put(schema: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = schema {
        fields.insert(name.to_owned(), value);
    }
}
