//! What an issuer offers: RFC 8414 metadata, else that of OpenID Connect, held against the bases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::header::{ACCEPT, HeaderValue};
use serde_json::Value;
use url::{Host, Url};

use super::wire::{Failure, Wire, exchange};
use crate::engine::call::{Reason, Values, Why};
use crate::provider::{Bases, spec};

/// Issuers whose metadata is kept. A run meets a handful; past this many they are asked anew.
const KEPT_MAX: usize = 64;

/// An endpoint of an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    Token,
    Revocation,
    Introspection,
    Registration,
    DeviceAuthorization,
    Userinfo,
    /// A page for people: no secret goes there, so it may lie on any host.
    Authorization,
}

impl Endpoint {
    /// All that this driver calls.
    pub(super) const ALL: [Self; 7] = [
        Self::Token,
        Self::Revocation,
        Self::Introspection,
        Self::Registration,
        Self::DeviceAuthorization,
        Self::Userinfo,
        Self::Authorization,
    ];

    /// Its name in the metadata (RFC 8414 section 2, RFC 8628 section 4, OpenID Connect Discovery).
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Registration => "registration_endpoint",
            Self::DeviceAuthorization => "device_authorization_endpoint",
            Self::Userinfo => "userinfo_endpoint",
            Self::Authorization => "authorization_endpoint",
        }
    }

    /// The var that gives its path, for an issuer that does not say it itself.
    fn path_var(self) -> &'static str {
        match self {
            Self::Token => "token_path",
            Self::Revocation => "revocation_path",
            Self::Introspection => "introspection_path",
            Self::Registration => "registration_path",
            Self::DeviceAuthorization => "device_path",
            Self::Userinfo => "userinfo_path",
            Self::Authorization => "authorization_path",
        }
    }
}

/// What one issuer says of itself, or somebody else of it.
#[derive(Default)]
pub(super) struct Metadata {
    endpoints: BTreeMap<Endpoint, Url>,
    /// Its own name for itself.
    pub(super) issuer: Option<String>,
    /// Every answer of its authorization endpoint names it (RFC 9207 section 3).
    pub(super) tells_issuer: bool,
    /// A client shows its secret in the body, for the token endpoint takes it nowhere else.
    pub(super) secret_in_body: bool,
}

impl Metadata {
    fn parse(document: &Value) -> Self {
        let url = |endpoint: Endpoint| document.get(endpoint.key())?.as_str()?.parse().ok();
        let methods = document.get("token_endpoint_auth_methods_supported");
        let takes = |name: &str| {
            methods
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|method| method == name))
        };
        Self {
            endpoints: Endpoint::ALL.into_iter().filter_map(|it| Some((it, url(it)?))).collect(),
            issuer: document.get("issuer").and_then(Value::as_str).map(str::to_owned),
            tells_issuer: document
                .get("authorization_response_iss_parameter_supported")
                .is_some_and(|told| told == true),
            // Without a list it is `client_secret_basic` (RFC 8414 section 2).
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        }
    }

    /// What the inventory says of an issuer that publishes no metadata: paths on its base. None
    /// where it says nothing.
    ///
    /// # Errors
    /// [`Reason::LeftBase`] for what is no path.
    fn of_vars(base: &Url, values: &Values) -> Result<Option<Self>, Failure> {
        let mut metadata = Self::default();
        for endpoint in Endpoint::ALL {
            let Some(path) = values.get(endpoint.path_var()).and_then(Value::as_str) else {
                continue;
            };
            metadata.endpoints.insert(endpoint, below(base, path)?);
        }
        Ok(Some(metadata).filter(|metadata| !metadata.endpoints.is_empty()))
    }

    /// What a provider file says under `consent`: `/path` on `api`, `name:/path` on a named base.
    ///
    /// # Errors
    /// [`Reason::LeftBase`] for what is no path on a base.
    pub(super) fn of_file(consent: &spec::Consent, bases: &Bases) -> Result<Self, Failure> {
        let mut metadata = Self::default();
        for (endpoint, written) in [
            (Endpoint::DeviceAuthorization, &consent.device),
            (Endpoint::Token, &consent.token),
            (Endpoint::Authorization, &consent.authorize),
        ] {
            let Some(written) = written else { continue };
            let named = written.split_once(':').filter(|(name, _)| !name.contains('/'));
            let (name, path) = named.unwrap_or(("api", written));
            let base = bases.get(name).ok_or(Reason::LeftBase)?;
            let joined = format!("{}{path}", base.path().trim_end_matches('/'));
            metadata.endpoints.insert(endpoint, below(base, &joined)?);
        }
        Ok(metadata)
    }
}

/// A path on the server of a base.
fn below(base: &Url, path: &str) -> Result<Url, Failure> {
    let plain = path.starts_with('/') && !path.contains(['?', '#', '\\', '%']);
    if !plain || path.starts_with("//") {
        return Err(Reason::LeftBase.into());
    }
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    Ok(url)
}

/// The issuer of one call: where it may be asked, and what it offers.
pub(super) struct Issuer<'a> {
    /// The client that calls go through.
    pub(super) http: &'a reqwest::Client,
    /// The only hosts a secret can reach.
    pub(super) bases: &'a Bases,
    /// What it offers.
    pub(super) metadata: Arc<Metadata>,
}

impl Issuer<'_> {
    /// Whether it has such an endpoint, wherever that lies.
    pub(super) fn offers(&self, endpoint: Endpoint) -> bool {
        self.metadata.endpoints.contains_key(&endpoint)
    }

    /// The address of an endpoint, on a base.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] where there is none, [`Reason::LeftBase`] where it lies elsewhere.
    pub(super) fn endpoint(&self, endpoint: Endpoint) -> Result<&Url, Failure> {
        let url = self.metadata.endpoints.get(&endpoint).ok_or(Reason::Unsupported)?;
        if lies_on_a_base(url, self.bases) { Ok(url) } else { Err(Reason::LeftBase.into()) }
    }

    /// The page that a person opens; what it may be is for whoever shows it to say.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] where there is none.
    pub(super) fn page(&self) -> Result<&Url, Failure> {
        let page = self.metadata.endpoints.get(&Endpoint::Authorization);
        page.ok_or_else(|| Reason::Unsupported.into())
    }

    /// A wire to an endpoint.
    ///
    /// # Errors
    /// As [`Issuer::endpoint`].
    pub(super) fn wire(&self, endpoint: Endpoint) -> Result<Wire, Failure> {
        Ok(Wire::new(self.http, self.endpoint(endpoint)?))
    }

    /// What a plan may be told: usable endpoints by name, and the origins of those that lie on no
    /// base, so that a person learns which host is still to be named.
    pub(super) fn facts(&self) -> Values {
        let mut facts = Values::new();
        let mut foreign = Vec::new();
        for (endpoint, url) in &self.metadata.endpoints {
            if lies_on_a_base(url, self.bases) || *endpoint == Endpoint::Authorization {
                facts.insert(endpoint.key().into(), url.as_str().into());
            } else {
                foreign.push(Value::from(url.origin().ascii_serialization()));
            }
        }
        foreign.dedup();
        if !foreign.is_empty() {
            facts.insert("unnamed_hosts".into(), foreign.into());
        }
        facts
    }
}

/// Metadata by issuer, for the run.
#[derive(Default)]
pub(super) struct Discoveries(Mutex<BTreeMap<String, Arc<Metadata>>>);

impl Discoveries {
    /// The issuer that `bases` name, asked once; not at all where the inventory says where its
    /// endpoints are.
    ///
    /// # Errors
    /// What kept it from being asked; [`Reason::SomebodyElse`] if the metadata is another
    /// issuer's; [`Reason::Unsupported`] if there is none.
    pub(super) async fn issuer<'a>(
        &self,
        http: &'a reqwest::Client,
        bases: &'a Bases,
        values: &Values,
    ) -> Result<Issuer<'a>, Failure> {
        let base = bases.get("api").ok_or(Reason::MissingValue)?;
        if !lies_on_a_base(base, bases) {
            return Err(Reason::LeftBase.into());
        }
        if let Some(said) = Metadata::of_vars(base, values)? {
            return Ok(Issuer { http, bases, metadata: Arc::new(said) });
        }
        let kept = self.kept(|all| all.get(base.as_str()).cloned());
        let metadata = match kept {
            Some(metadata) => metadata,
            None => {
                let fresh = Arc::new(Metadata::parse(&ask(http, base).await?));
                self.kept(|all| {
                    if all.len() < KEPT_MAX {
                        all.insert(base.to_string(), Arc::clone(&fresh));
                    }
                });
                fresh
            }
        };
        Ok(Issuer { http, bases, metadata })
    }

    fn kept<T>(&self, with: impl FnOnce(&mut BTreeMap<String, Arc<Metadata>>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a URL has scheme, host and port of a base, no user, no fragment, and nobody listening
/// on the way.
pub(super) fn lies_on_a_base(url: &Url, bases: &Bases) -> bool {
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    bare && is_private(url) && bases.values().any(|base| base.origin() == url.origin())
}

/// Whether nobody on the way can listen: https, or http to loopback.
pub(super) fn is_private(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

/// Reads the metadata document: RFC 8414 puts the well-known path before the issuer's own, OpenID
/// Connect behind it.
async fn ask(http: &reqwest::Client, issuer: &Url) -> Result<Value, Failure> {
    let own = issuer.path().trim_end_matches('/');
    let places = [
        format!("/.well-known/oauth-authorization-server{own}"),
        format!("{own}/.well-known/openid-configuration"),
    ];
    let mut last = Failure::from(Reason::Unsupported);
    for path in places {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        let mut request = reqwest::Request::new(Method::GET, url);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answered = match exchange(http, request).await {
            Ok(answered) => answered,
            // A page that is not there is a redirect or a breakdown at some servers.
            Err(failure @ (Failure::Refused(_) | Failure::Broken(_))) => {
                last = failure;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let status = Some(answered.status);
        let document = answered.json();
        match document.get("issuer").and_then(Value::as_str).filter(|_| status == Some(200)) {
            Some(said) if same_issuer(said, issuer) => return Ok(document),
            Some(_) => {
                let why = Why { reason: Reason::SomebodyElse, status, word: None };
                return Err(Failure::Refused(why));
            }
            None => {
                let why = Why { reason: Reason::Unsupported, status, word: None };
                last = Failure::Refused(why);
            }
        }
    }
    Err(last)
}

/// Equal but for one slash at the end, which a parsed URL without a path always has.
fn same_issuer(said: &str, issuer: &Url) -> bool {
    let bare = |url: &str| url.strip_suffix('/').unwrap_or(url).to_owned();
    Url::parse(said).is_ok_and(|said| bare(said.as_str()) == bare(issuer.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(all: &[&str]) -> Bases {
        let named = all.iter().enumerate();
        named.map(|(index, url)| (index.to_string(), url.parse().unwrap())).collect()
    }

    #[test]
    fn an_endpoint_has_scheme_host_and_port_of_a_base() {
        let bases = bases(&["https://id.example/realms/a", "https://api.example:8443"]);
        for inside in ["https://id.example/token", "https://api.example:8443/x?y=1"] {
            assert!(lies_on_a_base(&inside.parse().unwrap(), &bases), "{inside}");
        }
        for outside in [
            "http://id.example/token",
            "https://id.example:444/token",
            "https://id.example.evil.example/token",
            "https://id.example./token",
            "https://user@id.example/token",
            "https://id.example/token#part",
            "https://api.example/x",
            "data:text/plain,x",
        ] {
            assert!(!lies_on_a_base(&outside.parse().unwrap(), &bases), "{outside}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for (url, fine) in [
            ("http://127.0.0.1:9/x", true),
            ("http://[::1]:9/x", true),
            ("http://localhost:9/x", true),
            ("http://10.0.0.1/x", false),
            ("http://id.example/x", false),
        ] {
            let parsed: Url = url.parse().unwrap();
            assert_eq!(lies_on_a_base(&parsed, &bases(&[url])), fine, "{url}");
        }
    }

    #[test]
    fn an_issuer_equals_itself_and_nothing_else() {
        let issuer: Url = "https://id.example/realms/a".parse().unwrap();
        assert!(same_issuer("https://id.example/realms/a", &issuer));
        assert!(same_issuer("https://id.example/realms/a/", &issuer));
        assert!(same_issuer("https://id.example", &"https://id.example/".parse().unwrap()));
        assert!(!same_issuer("https://id.example/realms/b", &issuer));
        assert!(!same_issuer("https://id.example", &issuer));
        assert!(!same_issuer("not a url", &issuer));
    }

    #[test]
    fn an_endpoint_that_somebody_names_is_a_path_on_a_base() {
        let base: Url = "https://id.example/o".parse().unwrap();
        let said = |path: &str| {
            let values = Values::from([("token_path".to_owned(), path.into())]);
            let metadata = Metadata::of_vars(&base, &values).ok()??;
            Some(metadata.endpoints[&Endpoint::Token].to_string())
        };
        assert_eq!(said("/o/token/").as_deref(), Some("https://id.example/o/token/"));
        for path in ["o/token", "//evil.example/x", "https://evil.example/x", "/x?y", "/x#y", ""] {
            assert_eq!(said(path), None, "{path}");
        }
        assert!(Metadata::of_vars(&base, &Values::new()).ok().unwrap().is_none());

        let bases = Bases::from([
            ("api".to_owned(), "https://oauth2.example/v1".parse().unwrap()),
            ("pages".to_owned(), "https://accounts.example".parse().unwrap()),
        ]);
        let file = |authorize: &str| spec::Consent {
            token: Some("/token".into()),
            authorize: Some(authorize.into()),
            ..spec::Consent::default()
        };
        let read = Metadata::of_file(&file("pages:/o/auth"), &bases).ok().unwrap();
        let at = |endpoint| read.endpoints[&endpoint].to_string();
        assert_eq!(at(Endpoint::Token), "https://oauth2.example/v1/token");
        assert_eq!(at(Endpoint::Authorization), "https://accounts.example/o/auth");
        assert!(Metadata::of_file(&file("https://evil.example/auth"), &bases).is_err());
        assert!(Metadata::of_file(&file("nobody:/auth"), &bases).is_err());
    }

    #[test]
    fn a_secret_goes_into_the_body_only_where_it_goes_nowhere_else() {
        let said = |methods: Value| {
            let key = "token_endpoint_auth_methods_supported";
            Metadata::parse(&Value::from_iter([(key, methods)])).secret_in_body
        };
        assert!(said(vec!["client_secret_post", "private_key_jwt"].into()));
        assert!(!said(vec!["client_secret_post", "client_secret_basic"].into()));
        assert!(!said(vec!["none"].into()));
        assert!(!said(Value::Null));
    }
}
