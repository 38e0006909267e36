//! Requests over HTTP, with limits.

use std::io::{self, BufReader, ErrorKind};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::{Agent, Body, BodyReader, Error};

use crate::file::limit::Limit;
use crate::store::Times;
use crate::store::credentials::{Credentials, User};
use crate::terminal::text;

/// A client that sends requests one after the other.
#[derive(Debug)]
pub(super) struct Client {
    credentials: Credentials,
    /// `None` until the first request, and after certificates have changed.
    agent: Option<Agent>,
    pub(super) limit: Limit,
    pub(super) times: Times,
}

/// A request. `Debug` is not implemented, because headers can contain secrets.
pub(super) struct Call<'c> {
    pub(super) method: Method,
    pub(super) url: &'c str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'c [u8],
    /// The time limit of the whole request.
    pub(super) within: Duration,
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The end of a stream of lines.
#[derive(Debug)]
pub(super) enum Line {
    Text(Vec<u8>),
    /// The time limit of the request was reached.
    Timeout,
    /// The server ended the stream.
    End,
}

/// A response that is read line by line.
pub(super) struct Lines {
    reader: BufReader<BodyReader<'static>>,
    limit: Limit,
}

impl Client {
    pub(super) fn new(credentials: Credentials, limit: Limit, times: Times) -> Self {
        Self { credentials, agent: None, limit, times }
    }

    /// Reads the files with credentials again.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        if self.credentials.reload()? {
            self.agent = None;
        }
        Ok(())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.credentials.token()
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.credentials.user()
    }

    /// Sends a request, and reads the whole response.
    pub(super) fn exchange(&mut self, call: Call<'_>) -> anyhow::Result<Answer> {
        let within = call.within;
        let (parts, body) = self.send(call)?.into_parts();
        let mut bytes = Vec::new();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        self.limit.read_to_end(reader, &mut bytes).map_err(|error| failure(Error::from(error), within))?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
    }

    /// Sends a request, and returns the lines of the response. Fails if the status is not 200.
    pub(super) fn lines(&mut self, call: Call<'_>) -> anyhow::Result<Lines> {
        let within = call.within;
        let (parts, body) = self.send(call)?.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        if parts.status.as_u16() == 200 {
            return Ok(Lines { reader: BufReader::new(reader), limit: self.limit });
        }
        let mut bytes = Vec::new();
        self.limit.read_to_end(reader, &mut bytes).map_err(|error| failure(Error::from(error), within))?;
        Err(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }.refusal())
    }

    fn send(&mut self, call: Call<'_>) -> anyhow::Result<Response<Body>> {
        let agent = self.agent()?;
        let mut request = Request::builder().method(call.method).uri(call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        // A server that requires a certificate closes the connection. Its reason may not arrive in time.
        let may_need_certificate = call.url.starts_with("https:") && !self.credentials.has_certificate();
        let run = |error| match error {
            Error::Io(error) if may_need_certificate && is_closed(&error) => {
                anyhow!("the server closed the connection; it may require a certificate (--cert)")
            }
            error => failure(error, call.within),
        };
        if call.body.is_empty() {
            let request = request.body(()).context("invalid request")?;
            let request = agent.configure_request(request).timeout_global(Some(call.within)).build();
            return agent.run(request).map_err(run);
        }
        let request = request.body(call.body).context("invalid request")?;
        let request = agent.configure_request(request).timeout_global(Some(call.within)).build();
        agent.run(request).map_err(run)
    }

    fn agent(&mut self) -> anyhow::Result<Agent> {
        if let Some(agent) = &self.agent {
            return Ok(agent.clone());
        }
        let agent = Agent::config_builder()
            .tls_config(self.credentials.tls()?)
            .timeout_connect(Some(self.times.connect))
            .timeout_resolve(Some(self.times.connect))
            .http_status_as_error(false)
            // A redirect is followed only where it is expected and checked.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("ipvsadm-rs/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(self.agent.insert(agent).clone())
    }
}

impl Answer {
    /// Returns a header of ASCII characters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the error for a response that does not have the expected status.
    pub(super) fn refusal(&self) -> anyhow::Error {
        let body = shortened(&text::data(self.body.trim_ascii()));
        if body.is_empty() { anyhow!("status {}", self.status) } else { anyhow!("status {}: {body}", self.status) }
    }
}

impl Lines {
    pub(super) fn next(&mut self) -> anyhow::Result<Line> {
        match self.limit.read_line(&mut self.reader) {
            Ok(Some(line)) => Ok(Line::Text(line)),
            Ok(None) => Ok(Line::End),
            Err(error) => match Error::from(error) {
                Error::Timeout(_) => Ok(Line::Timeout),
                error => bail!("{}", describe(&error)),
            },
        }
    }
}

fn failure(error: Error, within: Duration) -> anyhow::Error {
    match error {
        Error::Timeout(ureq::Timeout::Connect) => anyhow!("no connection in time"),
        Error::Timeout(ureq::Timeout::Resolve) => anyhow!("the name service did not answer in time"),
        Error::Timeout(_) => anyhow!("no complete response within {}", humantime::format_duration(within)),
        error => anyhow!("{}", describe(&error)),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// Returns a message without the prefixes of the library, which are names of types.
fn describe(error: &Error) -> String {
    let message = match error {
        Error::Io(error) => error.to_string(),
        Error::HostNotFound => "the host name is unknown".into(),
        Error::Rustls(error) => format!("TLS: {error}"),
        error => error.to_string(),
    };
    shortened(&text::escaped(&message))
}

/// Returns the first 300 characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
