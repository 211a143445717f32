//! Two certificates for `127.0.0.1`, made for these tests alone, each signed by itself: one that
//! the run is told to trust, and a stranger's.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const TRUSTED: &str = "\
    MIIBsjCCAVigAwIBAgIUafWsWmL+xJDSorcpb6Gm6KMGZRQwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRbG9jYWxob3\
    N0IHRydXN0ZWQwIBcNMjYxMTIyMDc0MDU5WhgPMjEyNjEwMjkwNzQwNTlaMBwxGjAYBgNVBAMMEWxvY2FsaG9zdCB0\
    cnVzdGVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEq/lWGf0jcbN+nACu6EB4bEHt0IGtRUbhE7j7uKpE8ovMdT\
    sEruuLrrDguoTVfBaYDQ0qD8yRYRXt0OleKeEDo6N2MHQwHQYDVR0OBBYEFMaKdHvRy1MAQKG2OmQ7HrHF7fAIMB8G\
    A1UdIwQYMBaAFMaKdHvRy1MAQKG2OmQ7HrHF7fAIMA8GA1UdEQQIMAaHBH8AAAEwDAYDVR0TAQH/BAIwADATBgNVHS\
    UEDDAKBggrBgEFBQcDATAKBggqhkjOPQQDAgNIADBFAiEAuowCW8nMWOEO9rCbioTSjYP81senV7K80f04T4Qs4zgC\
    IFQFo6mFScW5HjAqD/NiQPaoLHCWxIy/okOpmGSBuWOD";
const TRUSTED_KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFSz7hm1/mlyPRnTP0gXYHtkjOM6wyHwKsNjs76IHru\
    qhRANCAASr+VYZ/SNxs36cAK7oQHhsQe3Qga1FRuETuPu4qkTyi8x1OwSu64uusOC6hNV8FpgNDSoPzJFhFe3Q6V4p\
    4QOj";
const STRANGER: &str = "\
    MIIBtTCCAVqgAwIBAgIUJ1hX/lPCqI9PTf5iNrPb0SmJ33QwCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSbG9jYWxob3\
    N0IHN0cmFuZ2VyMCAXDTI2MTEyMjA3NDA1OVoYDzIxMjYxMDI5MDc0MDU5WjAdMRswGQYDVQQDDBJsb2NhbGhvc3Qg\
    c3RyYW5nZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQN7F/p0wtzLs+0Jo1Yn5LrQq5Gf8n2HYfixJMTHJPPjy\
    Bb5qrD+zuNgJG/iX6ZY8fwynq3P5GSXJeEszjAd8WZo3YwdDAdBgNVHQ4EFgQUEPMD/wEUgxoi7rsbwL4Ka2gFRN8w\
    HwYDVR0jBBgwFoAUEPMD/wEUgxoi7rsbwL4Ka2gFRN8wDwYDVR0RBAgwBocEfwAAATAMBgNVHRMBAf8EAjAAMBMGA1\
    UdJQQMMAoGCCsGAQUFBwMBMAoGCCqGSM49BAMCA0kAMEYCIQDjqw/1BlaPCtcVJ8boGVNoyl/6vZ6G8ca2MSlv04RU\
    WwIhAKRNIwS9w3VAfxVeNRdJLcUDRDBX1VdVMT0EuexAr+ad";
const STRANGER_KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1HhIYRRVidECFKzJpCF+9X5JlKYdvNJiUTsT2u9gP2\
    ihRANCAAQN7F/p0wtzLs+0Jo1Yn5LrQq5Gf8n2HYfixJMTHJPPjyBb5qrD+zuNgJG/iX6ZY8fwynq3P5GSXJeEszjA\
    d8WZ";

/// Who takes connections, with either certificate.
pub(crate) struct Tls {
    pub(crate) trusted: TlsAcceptor,
    pub(crate) stranger: TlsAcceptor,
}

impl Tls {
    pub(crate) fn both() -> &'static Self {
        static BOTH: OnceLock<Tls> = OnceLock::new();
        BOTH.get_or_init(|| Self {
            trusted: acceptor(TRUSTED, TRUSTED_KEY),
            stranger: acceptor(STRANGER, STRANGER_KEY),
        })
    }

    /// For `SSL_CERT_FILE`.
    pub(crate) fn trusted_as_pem() -> String {
        format!("-----BEGIN CERTIFICATE-----\n{TRUSTED}\n-----END CERTIFICATE-----\n")
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let certificate = CertificateDer::from(STANDARD.decode(certificate).unwrap());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(STANDARD.decode(key).unwrap()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
