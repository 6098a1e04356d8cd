//! The routes and what each does: read the request, call one method of the runtime, write the document.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request,
    body::{Body, Incoming},
};
use oneiric_core::{Change, Coded, Domain, ErrorKind, Provider, Query, Slot, query};
use oneiric_lifecycle::{Outcome, SwapReport};
use serde::de::DeserializeOwned;
use tracing::Level;

use super::{
    answer::{Admin, Answer, Asked, Problem},
    request_log::Called,
};
use crate::{
    api::{
        self, AliveDoc, CallRequest, ErrorFields, HealthRequest, SwapDoc, SwapRequestDoc, kind,
        schema,
    },
    error::RuntimeError,
};

/// Calls at one time. Fewer than connections, so that while components hang the swap that cures them gets in.
pub(super) const MAX_CALLS: usize = 48;
/// The longest request body: 1 MiB.
const MAX_BODY_BYTES: usize = 1 << 20;
/// For a request body to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// The longest reason of a swap. A thousand of them are kept, and each is in the log.
const MAX_REASON_BYTES: usize = 1 << 10;
/// The longest name of an operation.
const MAX_OPERATION_BYTES: usize = 128;

/// One path with the methods it takes.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: &'static str,
    get: Option<Action>,
    post: Option<Action>,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    List,
    Explain,
    Status,
    Health,
    Probe,
    Call,
    Swap,
    Alive,
    Ready,
    #[cfg(feature = "metrics")]
    Metrics,
}

const ROUTES: &[Route] = &[
    Route {
        path: "/v1/list",
        get: Some(Action::List),
        post: None,
    },
    Route {
        path: "/v1/explain",
        get: Some(Action::Explain),
        post: None,
    },
    Route {
        path: "/v1/status",
        get: Some(Action::Status),
        post: None,
    },
    Route {
        path: "/v1/health",
        get: Some(Action::Health),
        post: Some(Action::Probe),
    },
    Route {
        path: "/v1/call",
        get: None,
        post: Some(Action::Call),
    },
    Route {
        path: "/v1/swap",
        get: None,
        post: Some(Action::Swap),
    },
    Route {
        path: "/healthz",
        get: Some(Action::Alive),
        post: None,
    },
    Route {
        path: "/readyz",
        get: Some(Action::Ready),
        post: None,
    },
    #[cfg(feature = "metrics")]
    Route {
        path: "/metrics",
        get: Some(Action::Metrics),
        post: None,
    },
];

pub(super) fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

impl Route {
    fn action(&self, method: &Method) -> Result<Action, Problem> {
        let action = match *method {
            Method::GET | Method::HEAD => self.get,
            Method::POST => self.post,
            _ => None,
        };
        action.ok_or_else(|| {
            let allow = match (self.get.is_some(), self.post.is_some()) {
                (true, true) => "GET, HEAD, POST",
                (true, false) => "GET, HEAD",
                _ => "POST",
            };
            let message = format!("{} takes {allow}", self.path);
            let problem =
                Problem::new(405, "runtime.method_not_allowed", ErrorKind::Usage, message);
            Problem {
                allow: Some(allow),
                ..problem
            }
        })
    }
}

pub(super) async fn handle(
    admin: &Admin,
    route: Option<&Route>,
    asked: Asked,
) -> Result<Answer, Problem> {
    let Some(route) = route else {
        let message = "there is no such route";
        return Err(Problem::new(
            404,
            "runtime.route_unknown",
            ErrorKind::NotFound,
            message,
        ));
    };
    let runtime = &admin.runtime;
    let Asked { peer, id, request } = asked;
    match route.action(request.method())? {
        Action::List => {
            let mut query = Params::of(&request)?;
            let domain = query.parsed::<Domain>("domain")?;
            query.end()?;
            Answer::json(200, &runtime.list(domain.as_ref()))
        }
        Action::Explain => {
            let (query, changes) = explain_query(Params::of(&request)?)?;
            Answer::json(200, &runtime.explain(&query, &changes)?)
        }
        Action::Status => Answer::json(200, &runtime.status(only_slot(&request)?.as_ref())?),
        Action::Health => Answer::json(200, &runtime.health(only_slot(&request)?.as_ref())?),
        Action::Probe => {
            let HealthRequest { slot } = body(request).await?;
            Answer::json(200, &runtime.probe(slot.as_ref()).await?)
        }
        Action::Call => {
            let call: CallRequest = body(request).await?;
            at_most(&call.operation, MAX_OPERATION_BYTES, "`operation`")?;
            called(admin, call).await
        }
        Action::Swap => {
            let swap: SwapRequestDoc = body(request).await?;
            at_most(
                swap.reason.as_deref().unwrap_or(""),
                MAX_REASON_BYTES,
                "`reason`",
            )?;
            swapped(runtime.swap(swap, &format!("uid:{peer}")).await?, id)
        }
        Action::Alive => Answer::json(
            200,
            &AliveDoc {
                schema: schema::ALIVE.into(),
                alive: true,
            },
        ),
        Action::Ready => {
            let ready = runtime.ready();
            Answer::json(if ready.ready { 200 } else { 503 }, &ready)
        }
        #[cfg(feature = "metrics")]
        Action::Metrics => Ok(Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: runtime.metrics().into_bytes(),
        }),
    }
}

/// Calls a component, if not too many calls are under way already.
async fn called(admin: &Admin, call: CallRequest) -> Result<Answer, Problem> {
    let Ok(_place) = admin.calls.try_acquire() else {
        let message = format!("{MAX_CALLS} calls are under way, more are not taken");
        let hint = "wait for some of them to end; if their component hangs, swap its slot to another provider";
        let status = kind::status(ErrorKind::Busy);
        return Err(Problem {
            hint: Some(hint.to_owned()),
            level: Level::WARN,
            ..Problem::new(status, "runtime.calls_exhausted", ErrorKind::Busy, message)
        });
    };
    let (slot, operation) = (call.slot.clone(), call.operation.clone());
    match admin.runtime.call(call).await {
        Ok(answer) => Answer::json(200, &answer),
        Err(error) => {
            let provider = match &error {
                RuntimeError::Call { provider, .. } => Some(provider.clone()),
                _ => None,
            };
            Err(Problem {
                called: Some(Box::new(Called {
                    slot,
                    operation,
                    provider,
                })),
                ..Problem::from(error)
            })
        }
    }
}

fn at_most(text: &str, most: usize, name: &str) -> Result<(), Problem> {
    if text.len() <= most {
        return Ok(());
    }
    let message = format!(
        "{name} is {} bytes long, at most {most} are taken",
        text.len()
    );
    Err(Problem::invalid(message))
}

/// A swap that was rolled back is a document like any other, and an error too.
fn swapped(mut doc: SwapDoc<SwapReport>, request_id: String) -> Result<Answer, Problem> {
    let report = doc.report.as_ref();
    if let Some((report, Outcome::RolledBack { failure })) =
        report.map(|report| (report, &report.outcome))
    {
        let message = format!(
            "swap of {} to {} was rolled back at {failure}",
            report.slot, report.to
        );
        doc.error = Some(ErrorFields {
            code: failure.code.into(),
            kind: kind::name(ErrorKind::RolledBack).into(),
            message,
            request_id,
            hint: report
                .from
                .as_ref()
                .map(|from| format!("{from} still serves {}", report.slot)),
        });
    }
    Answer::json(if doc.error.is_some() { 409 } else { 200 }, &doc)
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let body = request.into_body();
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
    let bytes = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => {
            return Err(Problem::invalid(format!(
                "the body cannot be read: {error}"
            )));
        }
    };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("the body cannot be used: {error}")))
}

fn too_large() -> Problem {
    let message = format!("the body is longer than {MAX_BODY_BYTES} bytes");
    Problem::new(413, "runtime.body_too_large", ErrorKind::Usage, message)
}

fn only_slot(request: &Request<Incoming>) -> Result<Option<Slot>, Problem> {
    let mut params = Params::of(request)?;
    let slot = params.parsed("slot")?;
    params.end()?;
    Ok(slot)
}

fn explain_query(mut params: Params) -> Result<(Query, Vec<Change>), Problem> {
    let slot = params
        .parsed("slot")?
        .ok_or_else(|| Problem::invalid("`slot` is missing"))?;
    let capabilities = params.all("capability");
    let any = match params.one("any")?.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::invalid("`any` is true or false")),
    };
    let capabilities = if any {
        query::any(capabilities)
    } else {
        query::all(capabilities)
    };
    let mut query = Query::new(slot).capabilities(capabilities);
    if let Some(provider) = params.parsed::<Provider>("provider")? {
        query = query.provider(provider);
    }
    let changes = params.all("what_if");
    let changes = changes
        .iter()
        .map(|change| change.parse().map_err(|error| misread(&error)));
    let changes = changes.collect::<Result<_, _>>()?;
    params.end()?;
    Ok((query, changes))
}

fn misread(error: &(impl Coded + ToString)) -> Problem {
    Problem::new(400, error.code(), ErrorKind::Usage, error.to_string())
}

/// The parameters of a query string, each of which somebody has to ask for.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(request: &Request<Incoming>) -> Result<Self, Problem> {
        let query = request.uri().query().unwrap_or_default();
        api::query::pairs(query)
            .map(Self)
            .ok_or_else(|| Problem::invalid("the query string is not well-formed"))
    }

    fn all(&mut self, key: &str) -> Vec<String> {
        self.0
            .extract_if(.., |(name, _)| name == key)
            .map(|(_, value)| value)
            .collect()
    }

    fn one(&mut self, key: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(key);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::invalid(format!("`{key}` is given more than once"))),
        }
    }

    fn parsed<T: std::str::FromStr<Err: Coded + ToString>>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(key)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| misread(&error))
    }

    fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(format!(
                "there is no parameter {name:?} here"
            ))),
        }
    }
}
