//! Both eras of MCP over Streamable HTTP: finding out which one a server speaks, and speaking it.
//!
//! Modern (2026-07-28): every request stands alone. Legacy (2025-11-25 and older): a handshake, and often a session.

use crate::config::{Config, EraChoice};
use crate::rpc::{Message, RpcError, answer, header_value};
use basb_plugin::Failure;
use basb_plugin::http::{Http, HttpError, Request, Response};
use serde_json::{Value, json};

/// The modern version that is asked for.
pub(crate) const MODERN: &str = "2026-07-28";
/// The legacy versions, newest first.
const LEGACY: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const UNSUPPORTED_VERSION: i64 = -32022;
const MISSING_CAPABILITY: i64 = -32021;
const HEADER_MISMATCH: i64 = -32020;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;

/// A server whose handshake and tool list together are longer than this is at fault.
const MOST_BYTES: usize = 8 << 20;

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Modern,
    Legacy,
}

/// A server that answered.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) era: Era,
    pub(crate) version: String,
    pub(crate) name: Option<String>,
    pub(crate) capabilities: Value,
    session: Option<String>,
}

/// Why a measurement ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody is there and wants a token.
    Unauthorized { status: u16, challenge: Option<String> },
    /// The service is at fault.
    Fail(String),
    /// Neither: it asks for something that a probe cannot give.
    Inconclusive(String),
    /// It could not be measured.
    Error(Failure),
}

/// How long the steps took, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) connect: Option<f64>,
    pub(crate) handshake: f64,
    pub(crate) ping: Option<f64>,
    pub(crate) tools: Option<f64>,
}

/// What was answered, and how long it took.
pub(crate) struct Exchange {
    pub(crate) response: Response,
    pub(crate) message: Option<Message>,
}

pub(crate) struct Client<'a> {
    http: Http<'a>,
    config: &'a Config,
    endpoint: String,
    last_id: u64,
    pub(crate) bytes: usize,
    pub(crate) times: Times,
}

/// What asking for discovery led to.
enum Found {
    Modern(Server),
    /// The server does not know discovery; why, and a version that it named.
    Legacy(String, Option<String>),
}

impl<'a> Client<'a> {
    pub(crate) fn new(http: Http<'a>, config: &'a Config, endpoint: String) -> Self {
        Self { http, config, endpoint, last_id: 0, bytes: 0, times: Times::default() }
    }

    /// Finds out what the server speaks.
    pub(crate) fn connect(&mut self) -> Result<Server, Stop> {
        if self.config.era == EraChoice::Legacy {
            return self.initialize(None);
        }
        match self.discover()? {
            Found::Modern(server) => Ok(server),
            Found::Legacy(why, _) if self.config.era == EraChoice::Modern => {
                Err(Stop::Fail(format!("server/discover is not answered: {why}")))
            }
            Found::Legacy(why, version) => self.initialize(version.as_deref()).map_err(|stop| match stop {
                Stop::Fail(and) => Stop::Fail(format!("no MCP server: server/discover: {why}; initialize: {and}")),
                other => other,
            }),
        }
    }

    fn discover(&mut self) -> Result<Found, Stop> {
        let mut asked = MODERN.to_owned();
        for last in [false, true] {
            let server = Server::new(Era::Modern, &asked);
            let exchange = self.exchange(&server, "server/discover", json!({}), &[])?;
            self.times.handshake += elapsed(&exchange.response);
            let status = exchange.response.status;
            match exchange.message {
                Some(Ok(result)) if result.get("supportedVersions").is_some_and(Value::is_array) => {
                    complete(&result, "server/discover")?;
                    return Ok(Found::Modern(Server {
                        name: title(result.pointer("/_meta/io.modelcontextprotocol~1serverInfo")),
                        capabilities: result.get("capabilities").cloned().unwrap_or_default(),
                        ..server
                    }));
                }
                Some(Err(error)) if error.code == UNSUPPORTED_VERSION => {
                    let supported = supported(&error);
                    let modern = supported.iter().filter(|version| version.as_str() >= MODERN).max();
                    let legacy = LEGACY.iter().find(|known| supported.iter().any(|version| version == *known));
                    match (modern, legacy) {
                        (Some(version), _) if !last && *version != asked => asked = version.clone(),
                        (None, Some(version)) => {
                            return Ok(Found::Legacy(error.to_string(), Some((*version).to_owned())));
                        }
                        _ => {
                            let list = supported.join(", ");
                            return Err(Stop::Fail(format!("no common protocol version: the server supports {list}")));
                        }
                    }
                }
                Some(Err(error)) if error.code == MISSING_CAPABILITY => {
                    return Err(Stop::Inconclusive(format!("server/discover: {error}")));
                }
                Some(Err(error)) if error.code == HEADER_MISMATCH => {
                    return Err(Stop::Fail(format!("server/discover: {error}")));
                }
                _ if (500..600).contains(&status) || matches!(status, 408 | 429) => {
                    return Err(Stop::Fail(format!("server/discover: {}", told(&exchange.response))));
                }
                _ if exchange.response.is_redirect() => {
                    let to = exchange.response.header("location").unwrap_or("nowhere").to_owned();
                    return Err(Stop::Fail(format!("the endpoint redirects ({status}) to {to}")));
                }
                Some(Err(error)) => return Ok(Found::Legacy(error.to_string(), None)),
                _ => return Ok(Found::Legacy(told(&exchange.response), None)),
            }
        }
        Err(Stop::Fail("no common protocol version".to_owned()))
    }

    fn initialize(&mut self, version: Option<&str>) -> Result<Server, Stop> {
        let mut asked = version.or(LEGACY.first().copied()).unwrap_or_default().to_owned();
        for last in [false, true] {
            let params = json!({
                "protocolVersion": asked,
                "capabilities": {},
                "clientInfo": {"name": "basb-host", "version": env!("CARGO_PKG_VERSION")},
            });
            // The version is not agreed on yet, so this request does not name it in a header.
            let exchange = self.exchange(&Server::new(Era::Legacy, ""), "initialize", params, &[])?;
            self.times.handshake += elapsed(&exchange.response);
            let result = match exchange.message {
                Some(Ok(result)) => result,
                Some(Err(error)) => {
                    let supported = supported(&error);
                    match LEGACY.iter().find(|known| supported.iter().any(|version| version == *known)) {
                        Some(version) if !last && **version != asked => {
                            asked = (*version).to_owned();
                            continue;
                        }
                        _ => return Err(Stop::Fail(error.to_string())),
                    }
                }
                None => return Err(Stop::Fail(told(&exchange.response))),
            };
            let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
            if !LEGACY.contains(&version) {
                return Err(Stop::Fail(format!("the server chose protocol version `{version}`, which is not known")));
            }
            let server = Server {
                name: title(result.get("serverInfo")),
                capabilities: result.get("capabilities").cloned().unwrap_or_default(),
                session: exchange.response.header("mcp-session-id").map(str::to_owned),
                ..Server::new(Era::Legacy, version)
            };
            let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            let accepted = self.send(self.post(&server, &note))?;
            self.times.handshake += elapsed(&accepted);
            authorized(&accepted)?;
            if !accepted.is_success() {
                return Err(Stop::Fail(format!("notifications/initialized: {}", told(&accepted))));
            }
            return Ok(server);
        }
        Err(Stop::Fail("no common protocol version".to_owned()))
    }

    /// Sends a request and demands a result. A session that the server forgot is begun again, once.
    pub(crate) fn request(&mut self, server: &mut Server, method: &str, params: Value) -> Result<(Value, f64), Stop> {
        let mut exchange = self.exchange(server, method, params.clone(), &[])?;
        if exchange.response.status == 404 && server.session.is_some() {
            let version = server.version.clone();
            *server = self.initialize(Some(&version))?;
            exchange = self.exchange(server, method, params, &[])?;
        }
        let took = elapsed(&exchange.response);
        let result = match exchange.message {
            Some(Ok(result)) => result,
            Some(Err(error)) if error.code == MISSING_CAPABILITY => {
                return Err(Stop::Inconclusive(format!("{method}: {error}")));
            }
            // Whoever answers in words of the protocol is alive; some servers leave out what they do not need.
            Some(Err(error)) if error.code == METHOD_NOT_FOUND && method == "ping" => json!({}),
            Some(Err(error)) => return Err(Stop::Fail(format!("{method}: {error}"))),
            None => return Err(Stop::Fail(format!("{method}: {}", told(&exchange.response)))),
        };
        complete(&result, method)?;
        Ok((result, took))
    }

    /// Sends the same request so many times at once, each with an id of its own.
    pub(crate) fn many(
        &mut self,
        server: &Server,
        method: &str,
        params: &Value,
        headers: &[(String, String)],
        count: u32,
    ) -> Result<Vec<Result<Exchange, HttpError>>, Stop> {
        let mut ids = Vec::new();
        let mut requests = Vec::new();
        for _ in 0..count {
            let (id, request) = self.build(server, method, params.clone(), headers);
            ids.push(id);
            requests.push(request);
        }
        let mut exchanges = Vec::new();
        for (id, result) in ids.into_iter().zip(self.http.send_many(requests)) {
            exchanges.push(match result {
                Ok(response) => {
                    // What calls answer is bounded by the host; a long result is no fault of the server.
                    self.bytes = self.bytes.saturating_add(response.body.len());
                    let message = answer(&response, id);
                    Ok(Exchange { response, message })
                }
                Err(error) if service_is_to_blame(&error) => Err(error),
                Err(error) => return Err(Stop::Error(error.into())),
            });
        }
        Ok(exchanges)
    }

    /// Ends the session, if there is one. A server may refuse (405); that is no fault.
    pub(crate) fn end(&mut self, server: &Server) -> Option<u16> {
        let session = server.session.as_deref()?;
        let request = self.dressed(Request::delete(&self.endpoint));
        let request = request.header("MCP-Protocol-Version", &server.version).header("MCP-Session-Id", session);
        self.http.send(request).ok().map(|response| response.status)
    }

    fn exchange(
        &mut self,
        server: &Server,
        method: &str,
        params: Value,
        headers: &[(String, String)],
    ) -> Result<Exchange, Stop> {
        let (id, request) = self.build(server, method, params, headers);
        let response = self.send(request)?;
        authorized(&response)?;
        let message = answer(&response, id);
        Ok(Exchange { response, message })
    }

    fn build(
        &mut self,
        server: &Server,
        method: &str,
        mut params: Value,
        headers: &[(String, String)],
    ) -> (u64, Request) {
        self.last_id += 1;
        let id = self.last_id;
        if let (Era::Modern, Some(params)) = (server.era, params.as_object_mut()) {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": server.version,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "basb-host", "version": env!("CARGO_PKG_VERSION")},
            });
            params.insert("_meta".to_owned(), meta);
        }
        let mut request = self.post(server, &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        if server.era == Era::Modern {
            request = request.header("Mcp-Method", method);
            if let ("tools/call", Some(name)) = (method, params.get("name").and_then(Value::as_str)) {
                request = request.header("Mcp-Name", header_value(name));
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
        }
        (id, request)
    }

    fn post(&self, server: &Server, message: &Value) -> Request {
        let mut request = self.dressed(Request::post(&self.endpoint)).json(message);
        request = request.header("accept", "application/json, text/event-stream");
        if !server.version.is_empty() {
            request = request.header("MCP-Protocol-Version", &server.version);
        }
        match &server.session {
            Some(session) => request.header("MCP-Session-Id", session),
            None => request,
        }
    }

    fn dressed(&self, request: Request) -> Request {
        let request = request.timeout(self.config.timeout.0);
        self.config.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn send(&mut self, request: Request) -> Result<Response, Stop> {
        match self.http.send(request) {
            Ok(response) => {
                self.times.connect.get_or_insert(response.timing.connected.as_secs_f64() * 1000.0);
                self.count(&response)?;
                Ok(response)
            }
            Err(error) if service_is_to_blame(&error) => Err(Stop::Fail(error.to_string())),
            Err(error) => Err(Stop::Error(error.into())),
        }
    }

    fn count(&mut self, response: &Response) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(response.body.len());
        if self.bytes > MOST_BYTES {
            return Err(Stop::Fail(format!("the answers are longer than {MOST_BYTES} bytes")));
        }
        Ok(())
    }
}

impl Server {
    fn new(era: Era, version: &str) -> Self {
        Self { era, version: version.to_owned(), name: None, capabilities: Value::Null, session: None }
    }
}

/// Whether a missing answer is the service's doing. A grant, a name or a limit is not.
fn service_is_to_blame(error: &HttpError) -> bool {
    matches!(error, HttpError::Connect(_) | HttpError::Tls(_) | HttpError::TimedOut(_) | HttpError::Broken(_))
}

fn authorized(response: &Response) -> Result<(), Stop> {
    match response.status {
        status @ (401 | 403) => {
            let challenge = response.header("www-authenticate").map(str::to_owned);
            Err(Stop::Unauthorized { status, challenge })
        }
        _ => Ok(()),
    }
}

/// A server that wants to know more before it answers.
fn complete(result: &Value, method: &str) -> Result<(), Stop> {
    match result.get("resultType").and_then(Value::as_str) {
        Some("input_required") => {
            Err(Stop::Inconclusive(format!("{method} asks for input, which a probe cannot give")))
        }
        _ => Ok(()),
    }
}

fn supported(error: &RpcError) -> Vec<String> {
    let list = error.data.get("supported").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn title(info: Option<&Value>) -> Option<String> {
    let info = info?;
    let name = info.get("name").and_then(Value::as_str)?;
    Some(format!("{name} {}", info.get("version").and_then(Value::as_str).unwrap_or_default()).trim().to_owned())
}

/// An answer that is none, in words.
pub(crate) fn told(response: &Response) -> String {
    match response.excerpt(120) {
        text if text.is_empty() => format!("status {} without a body", response.status),
        text => format!("status {}: {text}", response.status),
    }
}

pub(crate) fn elapsed(response: &Response) -> f64 {
    response.timing.total.as_secs_f64() * 1000.0
}
