//! The OAuth client that authenticates a request, and every request that `oauth2` builds for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AccessToken, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    DeviceAuthorizationUrl, IntrospectionUrl, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    StandardRevocableToken, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use url::Url;
use zeroize::Zeroize;

use super::consent::Consent;
use super::discovery::{Endpoint, Issuer};
use super::wire::{Failure, Wire};
use crate::engine::call::{Reason, Values};
use crate::provider::Acting;
use crate::secret::Secret;

type Builder = oauth2::Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

type TokenBuilder = oauth2::Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

/// Which of the two tokens of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Access,
    Refresh,
}

impl Token {
    /// What RFC 6749 calls it, and RFC 7009 takes for a hint.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

/// An OAuth client at an issuer.
pub(super) struct Client<'a> {
    /// Where.
    pub(super) issuer: &'a Issuer<'a>,
    /// Its `client_id`.
    pub(super) id: &'a str,
    secret: Option<&'a Secret>,
    secret_in_body: bool,
}

impl<'a> Client<'a> {
    /// The client that takes part in a call: kind `client`, or `registered-client`.
    ///
    /// # Errors
    /// [`Reason::MissingValue`] without a `client_id`.
    pub(super) fn new(issuer: &'a Issuer<'a>, acting: &'a Acting) -> Result<Self, Failure> {
        let known = acting.parts.public.get("client_id").or_else(|| acting.vars.get("client_id"));
        let id = known.and_then(Value::as_str).ok_or(Reason::MissingValue)?;
        let secrets = &acting.parts.secret;
        let secret_in_body = match acting.vars.get("client_auth").and_then(Value::as_str) {
            Some(method) => method == "client_secret_post",
            None => issuer.metadata.secret_in_body,
        };
        Ok(Self {
            issuer,
            id,
            secret: secrets.get("secret").or_else(|| secrets.get("client_secret")),
            secret_in_body,
        })
    }

    /// Whether it has a secret: a public client has none, and nothing to prove dead.
    pub(super) fn confidential(&self) -> bool {
        self.secret.is_some()
    }

    /// RFC 7662: whether the issuer calls a token active.
    ///
    /// # Errors
    /// Everything but a described answer.
    pub(super) async fn introspect(
        &self,
        token: &str,
        hint: Token,
    ) -> Result<BasicTokenIntrospectionResponse, Failure> {
        let url = self.issuer.endpoint(Endpoint::Introspection)?.clone();
        let wire = self.issuer.wire(Endpoint::Introspection)?;
        let client = self.builder()?.set_introspection_url(IntrospectionUrl::from_url(url));
        let token = AccessToken::new(token.to_owned());
        let request = client.introspect(&token).set_token_type_hint(hint.hint());
        let answer = request.request_async(&wire).await;
        wipe(token);
        answer.map_err(|error| wire.failure(error))
    }

    /// RFC 7009: asks for the end of a token. A yes proves nothing: it is said of nonsense too.
    ///
    /// # Errors
    /// Everything but a status that means yes.
    pub(super) async fn revoke(&self, token: &str, hint: Token) -> Result<(), Failure> {
        let wire = self.issuer.wire(Endpoint::Revocation)?;
        let mut url = self.issuer.endpoint(Endpoint::Revocation)?.clone();
        // `oauth2` refuses to build a revocation for plain http, loopback included. It is given
        // the same address spelled https; the wire goes to the endpoint itself, which the rule of
        // the bases has let through.
        if url.scheme() == "http" && url.set_scheme("https").is_err() {
            return Err(Reason::LeftBase.into());
        }
        let client = self.builder()?.set_revocation_url(RevocationUrl::from_url(url));
        let token = match hint {
            Token::Access => AccessToken::new(token.to_owned()).into(),
            Token::Refresh => RefreshToken::new(token.to_owned()).into(),
        };
        let request = client.revoke_token(token).map_err(|_| Failure::from(Reason::LeftBase))?;
        request.request_async(&wire).await.map_err(|error| wire.failure(error))
    }

    /// RFC 6749 section 4.4: a token for the client itself.
    ///
    /// # Errors
    /// Everything but a token.
    pub(super) async fn own_token(&self, values: &Values) -> Result<Granted, Failure> {
        let (client, wire) = self.at_token_endpoint()?;
        let mut request = client.exchange_client_credentials().add_scopes(scopes(values));
        for (name, value) in targets(values) {
            request = request.add_extra_param(name, value);
        }
        request.request_async(&wire).await.map_err(|error| wire.failure(error))
    }

    /// RFC 6749 section 6: spends a refresh token for a new pair. Never sent twice.
    ///
    /// # Errors
    /// Everything but a token.
    pub(super) async fn refresh(&self, token: &str) -> Result<Granted, Failure> {
        let (client, wire) = self.at_token_endpoint()?;
        let token = RefreshToken::new(token.to_owned());
        let answer = client.exchange_refresh_token(&token).request_async(&wire).await;
        token.into_secret().zeroize();
        answer.map_err(|error| wire.failure(error))
    }

    /// Offers a code that nobody issued: a client that is accepted hears `invalid_grant`.
    ///
    /// # Errors
    /// Everything but a token, which would be a wonder.
    pub(super) async fn offer_no_code(&self) -> Result<(), Failure> {
        let (client, wire) = self.at_token_endpoint()?;
        let code = AuthorizationCode::new(NOBODYS.to_owned());
        let answer = client.exchange_code(code).request_async(&wire).await;
        answer.map(drop).map_err(|error| wire.failure(error))
    }

    /// RFC 8628 section 3.1: asks for a code that a person can consent with.
    ///
    /// # Errors
    /// Everything but a described answer.
    pub(super) async fn ask_for_consent(
        &self,
        values: &Values,
    ) -> Result<StandardDeviceAuthorizationResponse, Failure> {
        let url = self.issuer.endpoint(Endpoint::DeviceAuthorization)?.clone();
        let wire = self.issuer.wire(Endpoint::DeviceAuthorization)?;
        let client =
            self.builder()?.set_device_authorization_url(DeviceAuthorizationUrl::from_url(url));
        let mut request = client.exchange_device_code().add_scopes(scopes(values));
        for (name, value) in targets(values) {
            request = request.add_extra_param(name, value);
        }
        request.request_async(&wire).await.map_err(|error| wire.failure(error))
    }

    /// RFC 8628 section 3.4: polls until the person has answered or the code has run out. Time is
    /// what the person's side was asked to pause: nothing here reads a clock.
    ///
    /// # Errors
    /// Everything but a token.
    pub(super) async fn await_consent(
        &self,
        details: &StandardDeviceAuthorizationResponse,
        person: &dyn Consent,
        patience: Duration,
    ) -> Result<Granted, Failure> {
        let (client, wire) = self.at_token_endpoint()?;
        let waited = Mutex::new(Duration::ZERO);
        let clock = || *waited.lock().unwrap_or_else(PoisonError::into_inner);
        let request = client.exchange_device_access_token(details).set_time_fn(|| after(clock()));
        let sleep = |wait: Duration| {
            // A server may say 0: asking it once a second is as often as a person can answer.
            let wait = wait.max(Duration::from_secs(1));
            *waited.lock().unwrap_or_else(PoisonError::into_inner) += wait;
            person.pause(wait)
        };
        let answer = request.request_async(&wire, sleep, Some(patience)).await;
        answer.map_err(|error| match wire.failure(error) {
            // One of the polls may have brought the grant, and its answer went missing.
            Failure::Refused(_) if wire.lost() => Failure::Lost(Reason::Reset),
            failure => failure,
        })
    }

    /// RFC 6749 section 4.1.1 with RFC 7636: the page that a person consents on, and the state that
    /// its answer must bring.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] where the issuer has no such page.
    pub(super) fn consent_page(
        &self,
        values: &Values,
        query: &BTreeMap<String, String>,
        redirect: &Url,
        challenge: PkceCodeChallenge,
    ) -> Result<(Url, CsrfToken), Failure> {
        let client = self.builder()?.set_auth_uri(AuthUrl::from_url(self.issuer.page()?.clone()));
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(scopes(values))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(redirect.clone())));
        for (name, value) in targets(values) {
            request = request.add_extra_param(name, value);
        }
        for (name, value) in query {
            request = request.add_extra_param(name.as_str(), value.as_str());
        }
        Ok(request.url())
    }

    /// RFC 6749 section 4.1.3 with RFC 7636: a code that came back, for tokens.
    ///
    /// # Errors
    /// Everything but a token.
    pub(super) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect: &Url,
    ) -> Result<Granted, Failure> {
        let (client, wire) = self.at_token_endpoint()?;
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(redirect.clone())));
        request.request_async(&wire).await.map_err(|error| wire.failure(error))
    }

    fn at_token_endpoint(&self) -> Result<(TokenBuilder, Wire), Failure> {
        let url = self.issuer.endpoint(Endpoint::Token)?.clone();
        let client = self.builder()?.set_token_uri(TokenUrl::from_url(url));
        Ok((client, self.issuer.wire(Endpoint::Token)?))
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let client =
            Builder::new(ClientId::new(self.id.to_owned())).set_auth_type(if self.secret_in_body {
                AuthType::RequestBody
            } else {
                AuthType::BasicAuth
            });
        Ok(match self.secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(text(secret)?.to_owned())),
            None => client,
        })
    }
}

/// A token or code that no issuer gave out.
pub(super) const NOBODYS: &str = "rotate-asks-about-a-token-that-nobody-issued";

/// The bytes of a secret as the text that OAuth knows it as.
///
/// # Errors
/// [`Reason::Unreadable`] for what is no text.
pub(super) fn text(secret: &Secret) -> Result<&str, Failure> {
    std::str::from_utf8(secret.expose()).map_err(|_| Reason::Unreadable.into())
}

/// Tokens of an answer, in the strings that they were parsed into; zeroed when dropped.
#[derive(Deserialize)]
pub(super) struct Granted {
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
    #[serde(skip, default = "bearer")]
    token_type: BasicTokenType,
    expires_in: Option<Value>,
    scope: Option<String>,
}

impl Granted {
    /// The access token; the second time there is none.
    pub(super) fn take_access(&mut self) -> Option<Secret> {
        let none = AccessToken::new(String::new());
        let token = std::mem::replace(&mut self.access_token, none).into_secret();
        (!token.is_empty()).then(|| token.into())
    }

    /// The refresh token, where one came; the second time there is none.
    pub(super) fn take_refresh(&mut self) -> Option<Secret> {
        let token = self.refresh_token.take()?.into_secret();
        (!token.is_empty()).then(|| token.into())
    }

    /// What may be written down: `lives` in seconds, and `scopes`.
    pub(super) fn facts(&self) -> Values {
        let lives = self.expires_in().map(|it| ("lives".to_owned(), it.as_secs().into()));
        let scopes = self.scope.as_deref().map(|it| ("scopes".to_owned(), it.into()));
        lives.into_iter().chain(scopes).collect()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let none = AccessToken::new(String::new());
        wipe(std::mem::replace(&mut self.access_token, none));
        if let Some(token) = self.refresh_token.take() {
            token.into_secret().zeroize();
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Granted")
    }
}

impl Serialize for Granted {
    /// `oauth2` asks for it; nothing of a token is ever written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl TokenResponse for Granted {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        // Some servers write the number as a string.
        let said = self.expires_in.as_ref()?;
        let seconds = said.as_u64().or_else(|| said.as_str()?.parse().ok())?;
        Some(Duration::from_secs(seconds))
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// Whether an error is this one of RFC 6749 section 5.2.
pub(super) fn is(word: Option<&str>, error: &BasicErrorResponseType) -> bool {
    word == Some(error.as_ref())
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

fn wipe(token: AccessToken) {
    token.into_secret().zeroize();
}

/// The inventory's `scopes`: a list, or one string.
fn scopes(values: &Values) -> Vec<Scope> {
    let Some(value) = values.get("scopes") else { return Vec::new() };
    let listed = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    listed.iter().filter_map(Value::as_str).map(|it| Scope::new(it.to_owned())).collect()
}

/// Whom the token is for: RFC 8707's `resource`, and the `audience` of servers older than it.
fn targets(values: &Values) -> impl Iterator<Item = (&'static str, String)> + '_ {
    ["resource", "audience"]
        .into_iter()
        .filter_map(|name| Some((name, values.get(name)?.as_str()?.to_owned())))
}

/// A point of time so long after the beginning of time: all that the polling loop compares.
fn after<T: Default + std::ops::Add<Duration, Output = T>>(waited: Duration) -> T {
    T::default() + waited
}
