//! What a row of the route table says. The table is what requests are matched against and what the OpenAPI document
//! is made of, so that neither can know a route, a parameter or a role that the other does not.

use std::sync::Arc;

use hyper::Method;
use oneiric_core::{BoxFuture, ErrorKind};

use super::{
    answer::Admin,
    asked::Asked,
    problem::{Answer, Problem},
    routes::AREAS,
};

/// What a route does, as a plain function, so that the table is data.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Answers at once.
    Now(fn(&Admin, &Asked) -> Result<Answer, Problem>),
    /// Waits for something. One that changes something has its share of what may be changed at one time.
    Later(Waiting),
    /// Calls a component; has its share of the calls.
    Call(Waiting),
    /// Gives an answer that may never end; has its share of the streams.
    Stream(Waiting),
    /// Gives an answer that may be long, or take long to be put together; has its share of those until it is written.
    Long(Waiting),
    /// Gives a copy of the database; has its share of those until it is written. Takes no `HEAD`, which would have a
    /// copy made for nobody.
    Copy(Waiting),
}

/// A handler that waits.
type Waiting = fn(Arc<Admin>, Asked) -> BoxFuture<'static, Result<Answer, Problem>>;

/// One method of one path.
#[cfg_attr(
    not(any(test, feature = "schema")),
    expect(dead_code, reason = "what is said of a route is read by its document")
)]
pub(super) struct Row {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// Who may.
    pub(super) access: Access,
    /// One sentence, for the OpenAPI document.
    pub(super) summary: &'static str,
    /// The parameters of the query string; others are refused.
    pub(super) params: &'static [Param],
    /// The document it takes; without one, nothing is read.
    pub(super) takes: Option<Doc>,
    /// What it gives when all is well, and how else it can end with the same document.
    pub(super) gives: Gives,
    pub(super) handle: Handler,
}

/// Methods there are. `HEAD` is a `GET` whose body is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
}

/// The methods that a path takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Methods {
    Get,
    /// And no `HEAD`.
    OnlyGet,
    Post,
    Both,
}

impl Methods {
    pub(super) const fn names(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::OnlyGet => "GET",
            Self::Post => "POST",
            Self::Both => "GET, HEAD, POST",
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Anybody, also over TCP without a token: nothing is told but that somebody is there.
    Open,
    /// Whoever reads.
    Read,
    /// Whoever operates.
    Operate,
}

/// A parameter of the query string.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    /// Whether it may be given more than once.
    pub(super) many: bool,
    /// Whether it has to be given.
    pub(super) required: bool,
}

/// A document by its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doc {
    /// Its schema, entered where others refer to it.
    #[cfg(feature = "schema")]
    pub(super) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// Names a document's type; one that does not exist does not compile.
macro_rules! document {
    ($type:ident) => {{
        const _: fn($crate::api::$type) = drop;
        $crate::admin::table::Doc {
            #[cfg(feature = "schema")]
            schema: |generator| generator.subschema_for::<$crate::api::$type>(),
        }
    }};
}
pub(super) use document;

/// What a route gives.
#[cfg_attr(
    not(feature = "schema"),
    expect(dead_code, reason = "read by the OpenAPI document")
)]
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    /// A document; besides 200, these statuses carry it too.
    Json(Doc, &'static [u16]),
    /// Something else, by its media type.
    Other(&'static str),
}

impl Param {
    pub(super) const fn one(name: &'static str) -> Self {
        Self {
            name,
            many: false,
            required: false,
        }
    }

    /// One that has to be given.
    pub(super) const fn must(name: &'static str) -> Self {
        Self {
            required: true,
            ..Self::one(name)
        }
    }

    pub(super) const fn many(name: &'static str) -> Self {
        Self {
            many: true,
            ..Self::one(name)
        }
    }
}

impl Verb {
    #[cfg(test)]
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl Row {
    fn takes(&self, method: &Method) -> bool {
        let is_copy = matches!(self.handle, Handler::Copy(_));
        match self.verb {
            Verb::Get => method == Method::GET || (method == Method::HEAD && !is_copy),
            Verb::Post => method == Method::POST,
        }
    }
}

pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    AREAS.iter().flat_map(|area| area.iter())
}

/// Finds the row of a request.
pub(super) fn find(method: &Method, path: &str) -> Result<&'static Row, Problem> {
    let here: Vec<_> = rows().filter(|row| row.path == path).collect();
    if here.is_empty() {
        let message = "there is no such route";
        let code = "runtime.route_unknown";
        return Err(Problem::new(404, code, ErrorKind::NotFound, message));
    }
    if let Some(row) = here.iter().find(|row| row.takes(method)) {
        return Ok(row);
    }
    let has = |verb| here.iter().any(|row| row.verb == verb);
    let copies = here
        .iter()
        .any(|row| matches!(row.handle, Handler::Copy(_)));
    let methods = match (has(Verb::Get), has(Verb::Post)) {
        _ if copies => Methods::OnlyGet,
        (true, true) => Methods::Both,
        (true, false) => Methods::Get,
        _ => Methods::Post,
    };
    let allow = methods.names();
    let message = format!("{path} takes {allow}");
    let code = "runtime.method_not_allowed";
    Err(Problem {
        allow: Some(methods),
        ..Problem::new(405, code, ErrorKind::Usage, message)
    })
}

/// Whether this is there to change something; a call is a component's matter.
pub(super) fn changes(method: &Method, path: &str) -> bool {
    let row = find(method, path).ok();
    row.is_some_and(|row| row.verb == Verb::Post && !matches!(row.handle, Handler::Call(_)))
}

/// The path as the table has it; that of an unknown route is whatever somebody typed.
pub(super) fn known(path: &str) -> &'static str {
    rows()
        .find(|row| row.path == path)
        .map_or("unknown", |row| row.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_of_a_path_has_two_rows_and_each_says_what_it_does() {
        let mut seen = Vec::new();
        for row in rows() {
            let one = (row.verb.name(), row.path);
            assert!(!seen.contains(&one), "{one:?}");
            seen.push(one);
            assert!(
                row.path.starts_with('/') && row.summary.ends_with('.'),
                "{one:?}"
            );
            assert!(row.verb == Verb::Post || row.takes.is_none(), "{one:?}");
            if let Gives::Other(media_type) = row.gives {
                assert!(media_type.contains('/'), "{one:?}");
            }
        }
    }

    #[test]
    fn whatever_changes_something_is_for_operators() {
        for row in rows().filter(|row| row.verb == Verb::Post) {
            assert_eq!(row.access, Access::Operate, "{}", row.path);
        }
    }
}
