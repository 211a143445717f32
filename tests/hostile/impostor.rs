//! A host with a certificate that nobody vouches for.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, Stream, crypto::ring};

/// Made for this test alone: `localhost` and `127.0.0.1`, signed by itself.
const CERTIFICATE: &str = "\
    MIIBmzCCAUGgAwIBAgIUCsEU87jGB8MbUDfPSCAcdwI+fxIwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3\
    N0MCAXDTI2MTEyMjAyMzY1NVoYDzIxMjYxMDI5MDIzNjU1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjO\
    PQIBBggqhkjOPQMBBwNCAATh7ug347jwuc2mT3Nd8p18IEkze8mwJBHcp4Tu/w5uBJrSk2Mz//75VT9FyiQoTpNZ0W\
    C6cJvpYAxjXpUl57Sqo28wbTAdBgNVHQ4EFgQUUQnw+P4sj+mwY5NJqWtZDRTg8kwwHwYDVR0jBBgwFoAUUQnw+P4s\
    j+mwY5NJqWtZDRTg8kwwDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj\
    0EAwIDSAAwRQIgajLmh3B/0grWTpQdOOKDwRkVoB14Y31YpEB2wR1fhCQCIQDfHXhOrdk3UWKXPQw2seGd0C1tysrZ\
    kL2D8QpVypz09A==";
const KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmu0IIJo0JZgVkiIoTPY1dGKqFBkBfPFgan1XjCHvlc\
    GhRANCAATh7ug347jwuc2mT3Nd8p18IEkze8mwJBHcp4Tu/w5uBJrSk2Mz//75VT9FyiQoTpNZ0WC6cJvpYAxjXpUl\
    57Sq";

/// Listens on a free loopback port until the test process ends, and panics if anybody who saw its
/// certificate sends a request all the same.
pub(crate) fn start() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let certificate = CertificateDer::from(STANDARD.decode(CERTIFICATE).unwrap());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(STANDARD.decode(KEY).unwrap()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut request = [0; 1];
            let read = std::io::Read::read(&mut Stream::new(&mut tls, &mut stream), &mut request);
            // Nobody is left to be told: the caller sees a connection that does not break.
            assert!(!matches!(read, Ok(1)), "a request to an impostor");
        }
    });
    base
}
