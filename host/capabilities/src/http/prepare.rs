//! From what a plugin asks for to what goes out: the parts of the door that decide and change, without any network.
//!
//! The order is the point. The grant is asked first, about the request as the plugin wrote it; only what it covers gets
//! secrets and signatures; then the grant is asked again, about the request as it will go out. Stops a placeholder from
//! leading a request elsewhere, a secret from being fetched for a request that is refused anyway, and a placeholder from
//! leaving the host unreplaced.

use super::action::Action;
use super::policy::{self, Refusal, Route, Wanted};
use super::url::Destination;
use super::{Http, HttpError, Request, headers, url};
use crate::network::Place;
use crate::{CallScope, denial, placeholder};
use ::http::header::ACCEPT_ENCODING;
use ::http::{HeaderMap, HeaderValue, Method, Uri};
use basb_credentials::{
    Applied, Authority, ClientIdentity, CredentialError, CredentialName, FetchedCredentials, Outgoing,
    Place as CredentialPlace,
};
use bytes::Bytes;
use std::time::SystemTime;

/// A request that the grant covers, without secrets.
#[derive(Debug, Clone)]
pub struct Prepared {
    destination: Destination,
    shown: String,
    origin: Origin,
    outgoing: Outgoing,
    route: Route,
}

/// A request as it goes out.
#[derive(Debug, Clone)]
pub struct Ready {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) place: Place,
    pub(super) route: Route,
    pub(super) credentials: Vec<CredentialName>,
    pub(super) identity: Option<ClientIdentity>,
    pub(super) authority: Option<Authority>,
    /// The tokens in it.
    pub(super) fetched: FetchedCredentials,
    /// The same without secrets, where a refused token could be replaced.
    pub(super) again: Option<Box<Prepared>>,
    shown: String,
}

impl Ready {
    /// Method and URL as the plugin named them, for people.
    pub(super) fn wanted(&self) -> String {
        format!("{} {}", self.method, self.shown)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes, with everything in it that was added.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its headers, with everything in them that was added.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body, with everything in it that was added.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The credentials that were used.
    #[must_use]
    pub fn credentials(&self) -> &[CredentialName] {
        &self.credentials
    }

    /// The length of the body, with everything in it that was added.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }
}

/// Where the URL of a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The plugin wrote it.
    Plugin,
    /// The plugin wrote a placeholder, and the URL is a secret as a whole: its path must not be in any text.
    Secret,
}

/// The method and the URL of a request as it is shown in the record before anything is known about it.
#[must_use]
pub(super) fn shown(request: &Request) -> String {
    let method = crate::printable(&request.method, 20);
    match url::parse(&request.url) {
        Ok(destination) => format!("{method} {}", destination.shown()),
        // What is not a URL may be anything, so the part that may hold secrets is left out here too.
        Err(_) => {
            let front = request.url.split(['?', '#']).next().unwrap_or_default();
            format!("{method} {}", crate::printable(front, 200))
        }
    }
}

impl Http {
    /// Reads a request and decides by the grant. `resolved` is what the URL stands for where it is a secret as a whole.
    ///
    /// # Errors
    /// [`HttpError::Invalid`], [`HttpError::TooLarge`], [`HttpError::Denied`], [`HttpError::Connect`] for a socket that
    /// the host does not know.
    pub fn prepare(
        &self,
        scope: &CallScope,
        request: Request,
        resolved: Option<String>,
    ) -> Result<Prepared, HttpError> {
        if let Some(text) = denial::sealed(scope, &shown(&request)) {
            return Err(HttpError::Denied(text));
        }
        if request.body.len() > self.limits.request_bytes {
            let (size, limit) = (request.body.len(), self.limits.request_bytes);
            return Err(HttpError::TooLarge(format!("a request body of {size} bytes is over the limit of {limit}")));
        }
        let origin = if resolved.is_some() { Origin::Secret } else { Origin::Plugin };
        let destination = match &resolved {
            None => url::parse(&request.url).map_err(HttpError::Invalid)?,
            Some(text) => url::parse(text).map_err(|_| {
                let name = crate::printable(&request.url, 100);
                HttpError::Invalid(format!("what `{name}` stands for is not a URL that can be asked for"))
            })?,
        };
        let shown = match origin {
            Origin::Plugin => destination.shown(),
            Origin::Secret => crate::printable(&request.url, 200),
        };
        let method = method(&request.method).map_err(HttpError::Invalid)?;
        let mut headers = headers::checked(&request.headers, &self.limits).map_err(HttpError::Invalid)?;
        let part = headers::PARTS.iter().find(|name| headers.contains_key(**name));
        if let Some(name) = part.filter(|_| !self.redactor.is_empty()) {
            return Err(HttpError::Invalid(format!(
                "the header `{name}` is not let out while the host knows secrets: a part of an answer cannot be searched \
                 for them; ask for the whole"
            )));
        }
        // What comes back is read here, so what may come back is said here, whatever the plugin wrote.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let action = Action::of(&method, &destination.url, &headers, &request.body);
        let body = request.body.as_slice();
        let wanted = Wanted { method: method.as_str(), destination: &destination, action: &action, body };
        let route = self.decide(scope, &wanted, &shown, origin).map_err(|error| match error {
            // Said at once, so that the operator is not told of one line now and of another one later.
            HttpError::Denied(text) => HttpError::Denied(match placeholder_in(&destination, &headers, &request.body) {
                Some(name) => format!(
                    "{text}\nit also holds the secret `{name}`: a credential that puts it in there must stand in its \
                     `credentials`"
                ),
                None => text,
            }),
            other => other,
        })?;
        let place = match &route {
            Route::Socket { name, .. } => CredentialPlace::Socket(name.clone()),
            Route::Network(_) => CredentialPlace::Network,
        };
        let url = destination.url.clone();
        let outgoing = Outgoing { method, url, headers, body: Bytes::from(request.body), place };
        Ok(Prepared { destination, shown, origin, outgoing, route })
    }

    /// Puts secrets and signatures in, and decides again.
    ///
    /// # Errors
    /// [`HttpError::Denied`] where a secret is not for this plugin or this destination, or would lead the request
    /// elsewhere; [`HttpError::Other`] where one is not to be had.
    pub async fn complete(&self, scope: &CallScope, prepared: Prepared) -> Result<Ready, HttpError> {
        let Prepared { destination, shown, origin, mut outgoing, route } = prepared;
        let asked = outgoing.clone();
        let wanted = format!("{} {shown}", asked.method);
        let applied = match self.credentials.get() {
            Some(credentials) => credentials
                .apply(&scope.credentials, &mut outgoing, SystemTime::now())
                .await
                .map_err(|error| credential_error(scope, &error, &wanted))?,
            None => Applied::default(),
        };
        if let Some(name) = leftover(&outgoing) {
            return Err(HttpError::Denied(denial::secret_not_given(scope, &wanted, &name)));
        }
        let Applied { credentials, identity, authority, fetched } = applied;
        self.still_covered(scope, &asked, &outgoing, &route, origin, &wanted)?;
        if (identity.is_some() || authority.is_some()) && outgoing.url.scheme() != "https" {
            let why = "a client certificate is shown, and an authority believed, over TLS only";
            return Err(HttpError::Denied(denial::refused(scope, &wanted, why)));
        }
        let uri = outgoing.url.as_str().parse();
        let uri: Uri = uri.map_err(|_| HttpError::Invalid(format!("{wanted}: the URL cannot be sent")))?;
        let Outgoing { method, headers, body, .. } = outgoing;
        let place = destination.place.clone();
        let again = (!fetched.is_empty()).then(|| {
            let (shown, route) = (shown.clone(), route.clone());
            Box::new(Prepared { destination, shown, origin, outgoing: asked, route })
        });
        Ok(Ready { method, uri, headers, body, place, route, credentials, identity, authority, fetched, again, shown })
    }

    /// Whether the request that goes out is covered as the one that was asked for was, and goes to the same place.
    fn still_covered(
        &self,
        scope: &CallScope,
        asked: &Outgoing,
        outgoing: &Outgoing,
        route: &Route,
        origin: Origin,
        wanted: &str,
    ) -> Result<(), HttpError> {
        let elsewhere = || {
            let why = "with the secrets in their places it would go elsewhere than was asked for";
            HttpError::Denied(denial::refused(scope, wanted, why))
        };
        if outgoing.method != asked.method || outgoing.place != asked.place {
            return Err(elsewhere());
        }
        if outgoing.url == asked.url && outgoing.body == asked.body {
            return Ok(());
        }
        let old = Place::of(&asked.url);
        let new = url::parse(outgoing.url.as_str()).map_err(|_| elsewhere())?;
        let same = Some(&new.place) == old.as_ref()
            && new.url.scheme() == asked.url.scheme()
            && new.url.as_str() == outgoing.url.as_str();
        if !same {
            return Err(elsewhere());
        }
        let action = Action::of(&outgoing.method, &outgoing.url, &outgoing.headers, &outgoing.body);
        let method = outgoing.method.as_str();
        let again = Wanted { method, destination: &new, action: &action, body: &outgoing.body };
        match policy::decide(&scope.grants.http, scope.target.as_ref(), scope.mode, &again) {
            Ok(found) if found == *route => Ok(()),
            Ok(_) => Err(elsewhere()),
            // Neither the path nor the lines for it may be shown: there is a secret in them.
            Err(_) => {
                let next = match origin {
                    Origin::Plugin => {
                        "its `path` in `grants` must cover the path with the secret in it, such as `/hooks/*`"
                    }
                    Origin::Secret => "its `path` in `grants` must cover the path of the secret URL, such as `/**`",
                };
                let why = format!("with the secrets in their places no grant covers it: {next}");
                Err(HttpError::Denied(denial::refused(scope, wanted, &why)))
            }
        }
    }

    fn decide(&self, scope: &CallScope, request: &Wanted<'_>, shown: &str, origin: Origin) -> Result<Route, HttpError> {
        let target = scope.target.as_ref();
        let wanted = || format!("{} {shown}", request.method);
        match policy::decide(&scope.grants.http, target, scope.mode, request) {
            Ok(Route::Socket { name, at: None }) if !self.known_sockets.contains(&name) => {
                let known = self.known_sockets.join(", ");
                let text = format!(
                    "there is no socket `{name}`; known: {known}; another one has its path under `at` of its grant"
                );
                Err(HttpError::Connect(text))
            }
            Ok(route) => Ok(route),
            Err(Refusal::NotGranted) => {
                let lines = match origin {
                    Origin::Plugin => policy::lines_for(target, request),
                    Origin::Secret => policy::lines_for_secret(request),
                };
                Err(HttpError::Denied(denial::not_granted(scope, &wanted(), &lines)))
            }
            Err(Refusal::NotThat(why)) => Err(HttpError::Denied(denial::refused(scope, &wanted(), &why))),
            Err(Refusal::Unclear(why)) => {
                let why = format!("a grant covers some actions only, and which action this is cannot be told: {why}");
                Err(HttpError::Denied(denial::refused(scope, &wanted(), &why)))
            }
            Err(Refusal::NotARead) => {
                let rule = match (request.action, origin) {
                    (Action::Named(action), _) => format!("{{ action: {} }}", crate::yaml_value(action)),
                    (_, Origin::Plugin) => crate::yaml_value(&policy::path_pattern(request.destination.url.path())),
                    (_, Origin::Secret) => crate::yaml_value(request.method),
                };
                let why = format!(
                    "this call may only read; if the request only reads, add to its entry in `grants`: `reads: [{rule}]`"
                );
                Err(HttpError::Denied(denial::refused(scope, &wanted(), &why)))
            }
        }
    }
}

/// Methods are compared letter by letter with the grant, so only the usual spelling is let through.
fn method(text: &str) -> Result<Method, String> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    let shown = crate::printable(text, 20);
    if !plain || matches!(text, "CONNECT" | "TRACE") {
        return Err(format!("`{shown}` is not a method that can be sent; methods are upper-case words such as `GET`"));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| format!("`{shown}` is not a method"))
}

/// The name in the first placeholder that nobody replaced.
fn leftover(outgoing: &Outgoing) -> Option<String> {
    first_placeholder(outgoing.url.as_str(), &outgoing.headers, &outgoing.body)
}

fn placeholder_in(destination: &Destination, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    first_placeholder(destination.url.as_str(), headers, body)
}

fn first_placeholder(url: &str, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let headers = headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
    headers.chain([url.as_bytes(), body]).find_map(placeholder::first)
}

/// What a plugin is told when a URL that is a secret as a whole is not to be had.
pub(super) fn secret_url_error(scope: &CallScope, error: &CredentialError, wanted: &str) -> HttpError {
    let name = crate::yaml_value(&scope.caller.plugin);
    let help = error.help.replace("\n  PLUGIN:\n", &format!("\n  {name}:\n"));
    let why = format!("{}; {help} ({})", error.message, error.code);
    let text = format!("{} asked for {}, but {why}", denial::who(scope), crate::printable(wanted, 400));
    if is_denial(error) { HttpError::Denied(text) } else { HttpError::Other(text) }
}

/// What a plugin is told when a request cannot be completed.
pub(super) fn credential_error(scope: &CallScope, error: &CredentialError, wanted: &str) -> HttpError {
    let text = denial::credential(scope, error, wanted);
    if is_denial(error) { HttpError::Denied(text) } else { HttpError::Other(text) }
}

/// Whether what is wrong is what the plugin asked for, and not that something is not to be had.
fn is_denial(error: &CredentialError) -> bool {
    matches!(
        error.code,
        "credential/unknown"
            | "credential/conflict"
            | "credential/not-bound"
            | "credential/placeholder-place"
            | "credential/placeholder-disguised"
            | "credential/destination"
    )
}
