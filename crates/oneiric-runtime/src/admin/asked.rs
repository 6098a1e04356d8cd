//! One request as handlers see it: who asks, the parameters of the query string, and the document that was sent.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use oneiric_core::{Coded, ErrorKind, Slot};
use serde::de::DeserializeOwned;

use super::{
    problem::Problem,
    table::{Param, Row},
};
use crate::{api, conceal::Audience};

/// The longest request body: 1 MiB.
const MAX_BODY_BYTES: usize = 1 << 20;
/// For a request body to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// One request as handlers see it.
#[derive(Clone)]
pub(super) struct Asked {
    /// Who asks, as it stands in records: `uid:1000`.
    pub(super) who: String,
    /// Finds the request in the log.
    pub(super) id: String,
    /// Whom the answer is for.
    pub(super) audience: Audience,
    /// The event after which a stream is to go on.
    pub(super) last_event: Option<String>,
    params: Vec<(String, String)>,
    body: Bytes,
}

impl Asked {
    pub(super) const fn new(
        who: String,
        id: String,
        params: Vec<(String, String)>,
        body: Bytes,
    ) -> Self {
        Self {
            who,
            id,
            audience: Audience::Client,
            last_event: None,
            params,
            body,
        }
    }

    /// The document that was sent; nothing is `{}`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes: &[u8] = if self.body.is_empty() {
            b"{}"
        } else {
            &self.body
        };
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::invalid(format!("the body cannot be used: {error}")))
    }

    /// The bytes that were sent.
    pub(super) fn sent(&self) -> &[u8] {
        &self.body
    }

    /// All values of a parameter, in their order.
    pub(super) fn all(&self, key: &str) -> Vec<&str> {
        let values = self.params.iter().filter(|(name, _)| name == key);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a parameter that is given once, or not.
    pub(super) fn one(&self, key: &str) -> Option<&str> {
        let mut values = self.params.iter().filter(|(name, _)| name == key);
        values.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.one(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid(format!("`{key}` is true or false"))),
        }
    }

    pub(super) fn parsed<T: FromStr<Err: Coded + ToString>>(
        &self,
        key: &str,
    ) -> Result<Option<T>, Problem> {
        let value = self.one(key);
        value
            .map(|text| text.parse().map_err(|error| misread(&error)))
            .transpose()
    }

    pub(super) fn slot(&self) -> Result<Option<Slot>, Problem> {
        self.parsed("slot")
    }
}

/// Something a client wrote cannot be read.
pub(super) fn misread(error: &(impl Coded + ToString)) -> Problem {
    Problem::new(400, error.code(), ErrorKind::Usage, error.to_string())
}

pub(super) fn at_most(text: &str, most: usize, name: &str) -> Result<(), Problem> {
    if text.len() <= most {
        return Ok(());
    }
    let message = format!(
        "{name} is {} bytes long, at most {most} are taken",
        text.len()
    );
    Err(Problem::invalid(message))
}

/// The parameters of a query string: those that the row knows, as often as it takes them.
pub(super) fn params(row: &Row, query: &str) -> Result<Vec<(String, String)>, Problem> {
    let params = api::query::pairs(query)
        .ok_or_else(|| Problem::invalid("the query string is not well-formed"))?;
    let given = |param: &Param| params.iter().any(|(name, _)| name == param.name);
    if let Some(missing) = row
        .params
        .iter()
        .find(|param| param.required && !given(param))
    {
        return Err(Problem::invalid(format!("`{}` is missing", missing.name)));
    }
    for (at, (name, _)) in params.iter().enumerate() {
        let Some(known) = row.params.iter().find(|param| param.name == name) else {
            return Err(Problem::invalid(format!(
                "there is no parameter {name:?} here"
            )));
        };
        if !known.many && params.iter().take(at).any(|(other, _)| other == name) {
            return Err(Problem::invalid(format!(
                "`{name}` is given more than once"
            )));
        }
    }
    Ok(params)
}

/// Reads a body to its end.
pub(super) async fn collect(body: Incoming) -> Result<Bytes, Problem> {
    // One that is announced as too large need not be sent to be refused.
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let collected = Limited::new(body, MAX_BODY_BYTES).collect();
    let collected = tokio::time::timeout(BODY_LIMIT, collected)
        .await
        .map_err(|_| {
            let message = format!("the body did not arrive within {} s", BODY_LIMIT.as_secs());
            Problem::new(408, "runtime.body_late", ErrorKind::Timeout, message)
        })?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::invalid(format!(
            "the body cannot be read: {error}"
        ))),
    }
}

fn too_large() -> Problem {
    let message = format!("the body is longer than {MAX_BODY_BYTES} bytes");
    Problem::new(413, "runtime.body_too_large", ErrorKind::Usage, message)
}
