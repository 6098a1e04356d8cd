//! Sending requests, again where a connection breaks.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{self, HeaderValue},
};

use super::{
    Client, ClientError, Limits, MAX_ANSWER_BYTES, broken,
    connect::{Connection, Target},
};

/// How often a request is sent whose connection breaks.
const ATTEMPTS: usize = 3;

/// Names for changes that nobody else gives.
#[derive(Debug)]
pub(super) struct Keys {
    random: u64,
    last: u64,
}

impl Keys {
    fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self { random, last: 0 }
    }

    fn next(&mut self) -> HeaderValue {
        self.last += 1;
        let more = RandomState::new().hash_one(self.last);
        let key = format!("{:016x}{more:016x}", self.random);
        // Hexadecimal digits are a header's value.
        HeaderValue::from_str(&key).unwrap_or_else(|_| HeaderValue::from(self.last))
    }
}

impl Client {
    pub(super) async fn over(target: Target, limits: Limits) -> Result<Self, ClientError> {
        let connection = within(limits.reads(), target.open()).await?;
        Ok(Self {
            target,
            limits,
            connection,
            keys: Keys::new(),
        })
    }

    pub(super) async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ClientError> {
        within(self.limits.of(&method), self.send(method, path, body)).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, Bytes), ClientError> {
        // One key for all attempts: that is what makes them one request.
        let key = (method == Method::POST).then(|| self.keys.next());
        let mut broke = None;
        for _ in 0..ATTEMPTS {
            // The process closes connections that have been idle; that is no reason to fail.
            if self.connection.is_closed() || self.connection.ready().await.is_err() {
                match (self.target.open().await, broke) {
                    (Ok(connection), _) => self.connection = connection,
                    // That it broke is what happened; that nobody answers now is only why it stays so.
                    (Err(_), Some(first)) => return Err(first),
                    (Err(error), None) => return Err(error),
                }
            }
            let mut request = self
                .head(method.clone(), path)?
                .map(|_| Full::new(body.clone()));
            if let Some(key) = &key {
                request.headers_mut().insert("idempotency-key", key.clone());
            }
            match attempt(&mut self.connection, request).await {
                Err(error @ ClientError::Broken { .. }) => broke = Some(error),
                other => return other,
            }
            // Whatever is left of it is not to be used again.
            self.connection = match self.target.open().await {
                Ok(connection) => connection,
                Err(error) => return Err(broke.unwrap_or(error)),
            };
        }
        Err(broke.unwrap_or(ClientError::Broken {
            doing: "sending",
            message: "nothing was sent".to_owned(),
        }))
    }

    /// Sends a request once, and leaves its answer to be read.
    pub(super) async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        if self.connection.is_closed() || self.connection.ready().await.is_err() {
            self.connection = self.target.open().await?;
        }
        let request = self.head(method, path)?.map(|_| Full::new(body));
        let answer = self.connection.send_request(request).await;
        answer.map_err(|error| broken("waiting for the answer", &error))
    }

    /// The head of a request.
    pub(super) fn head(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.target.host())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::default())
            .map_err(|error| broken("writing the request", &error))?;
        if let Some(authorization) = self.target.authorization() {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization);
        }
        Ok(request)
    }
}

async fn attempt(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), ClientError> {
    let answer = connection.send_request(request).await;
    let answer = answer.map_err(|error| broken("waiting for the answer", &error))?;
    let status = answer.status().as_u16();
    Ok((status, collect(answer.into_body()).await?))
}

pub(super) async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| broken("reading the answer", &*error))?;
    Ok(body.to_bytes())
}

pub(super) async fn within<T>(
    limit: Option<Duration>,
    what: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match limit {
        None => what.await,
        Some(limit) => tokio::time::timeout(limit, what)
            .await
            .unwrap_or(Err(ClientError::TimedOut { limit })),
    }
}
