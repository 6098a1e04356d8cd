//! JSON Schemas of names: each is a text of a known form. The exact rules are in `name`; a pattern says most of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{Domain, Origin, Provider, Slot};

macro_rules! text {
    ($($type:ident, $pattern:literal, $example:literal, $about:literal;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $about,
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn examples_are_what_they_are_examples_of() {
                $(assert!($example.parse::<$type>().is_ok(), $example);)*
            }
        }
    };
}

text! {
    Domain, "^[a-z][a-z0-9_-]{0,31}$", "adapter", "A kind of parts.";
    Slot, "^[a-z][a-z0-9_-]{0,31}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", "adapter/cache",
        "A part that can be exchanged: a domain and a key.";
    Provider, "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", "memory", "The name of an implementation.";
    Origin, "^(settings|(plugin|folder|remote|code):.+)$", "settings",
        "Where a candidate was registered.";
}
