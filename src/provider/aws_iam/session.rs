//! Clients that sign as one credential, made for one call and dropped with it.

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_sdk_iam::config::SharedCredentialsProvider;
use serde_json::Value;
use url::Url;

use super::answer::Failure;
use super::connector::Connector;
use super::public;
use crate::engine::call::Reason;
use crate::provider::{Acting, Bases};

/// Where IAM and the global STS address sign, everywhere but in China and GovCloud.
const REGION: &str = "us-east-1";

/// The addresses of the provider file.
const OURS: [&str; 2] = ["iam.amazonaws.com", "sts.amazonaws.com"];

/// One credential at both services.
pub(super) struct Session {
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) connector: Connector,
}

impl Session {
    /// Reads the acting credential's bytes; a `chain` is asked for its own.
    pub(super) async fn open(
        client: reqwest::Client,
        bases: &Bases,
        acting: &Acting,
    ) -> Result<Self, Failure> {
        let missing = || Failure::refused(Reason::MissingValue);
        let iam = bases.get("api").ok_or_else(missing)?;
        let sts = bases.get("sts").filter(|sts| pair(iam, sts)).unwrap_or(iam);
        let region = Region::new(text(acting, "region").unwrap_or(REGION).to_owned());
        let connector = Connector::new(client);
        let credentials = match acting.kind.as_str() {
            "chain" => from_chain(acting, region.clone(), connector.clone()).await?,
            _ => from_parts(acting)?,
        };
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region)
            .http_client(connector.clone())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            // The cache would keep up to 64 old secrets in memory.
            .identity_cache(IdentityCache::no_cache())
            // A key made by a retry that nobody asked for is an orphan.
            .retry_config(RetryConfig::disabled())
            // The deadline is the caller's.
            .timeout_config(TimeoutConfig::disabled())
            .build();
        let at = |url: &Url| shared.to_builder().endpoint_url(url.as_str()).build();
        Ok(Self {
            iam: aws_sdk_iam::Client::new(&at(iam)),
            sts: aws_sdk_sts::Client::new(&at(sts)),
            connector,
        })
    }
}

/// Whether both addresses are of one system. An inventory that names another for IAM alone means
/// it for STS too: AWS does not know the keys of another server, and shall not see them.
fn pair(iam: &Url, sts: &Url) -> bool {
    let [our_iam, our_sts] = OURS;
    sts.host_str() != Some(our_sts) || iam.host_str() == Some(our_iam)
}

fn from_parts(acting: &Acting) -> Result<Credentials, Failure> {
    let missing = || Failure::refused(Reason::MissingValue);
    let id = public(acting, "access_key_id").ok_or_else(missing)?;
    let secret = acting.parts.secret.get("secret").filter(|s| !s.is_empty());
    let secret = std::str::from_utf8(secret.ok_or_else(missing)?.expose())
        .map_err(|_| Failure::refused(Reason::Unexpected))?;
    // `Credentials` zeroes what it holds.
    Ok(Credentials::new(id, secret, None, None, "rotate"))
}

/// Environment, profiles, web identity, container and instance metadata, in the SDK's order.
async fn from_chain(
    acting: &Acting,
    region: Region,
    connector: Connector,
) -> Result<Credentials, Failure> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .retry_config(RetryConfig::disabled())
        .identity_cache(IdentityCache::no_cache())
        .http_client(connector);
    if let Some(profile) = text(acting, "profile") {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let provider =
        config.credentials_provider().ok_or_else(|| Failure::refused(Reason::ActorRefused))?;
    provider.provide_credentials().await.map_err(|error| match error {
        CredentialsError::ProviderTimedOut(_) => Failure::not_sent(Reason::Timeout),
        _ => Failure::refused(Reason::ActorRefused),
    })
}

fn text<'a>(acting: &'a Acting, name: &str) -> Option<&'a str> {
    acting.vars.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_that_names_one_address_means_it_for_both() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let (iam, sts) = (url("https://iam.amazonaws.com"), url("https://sts.amazonaws.com"));
        assert!(pair(&iam, &sts));
        assert!(!pair(&url("http://127.0.0.1:5000"), &sts));
        let regional = url("https://sts.cn-north-1.amazonaws.com.cn");
        assert!(pair(&url("https://iam.cn-north-1.amazonaws.com.cn"), &regional));
        assert!(pair(&url("http://127.0.0.1:5000"), &url("http://127.0.0.1:5001")));
    }
}
