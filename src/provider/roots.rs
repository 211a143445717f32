//! The platform's own check of certificates, made ready beside everything else.

use std::sync::{Arc, OnceLock};
use std::thread;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// The platform's verifier, and nothing of our own: every question is handed to it. Its roots are
/// some hundred files, which takes tens of milliseconds; nothing waits for them but a handshake.
#[derive(Debug)]
pub(super) struct PlatformRoots {
    ring: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Verifier, Error>>,
}

impl PlatformRoots {
    /// Begins to read them.
    pub(super) fn read(ring: Arc<CryptoProvider>) -> Arc<Self> {
        let roots = Arc::new(Self { ring, verifier: OnceLock::new() });
        let reading = Arc::clone(&roots);
        // Without a thread to spare, the first handshake reads them itself.
        let _ = thread::Builder::new().spawn(move || drop(reading.verifier()));
        roots
    }

    /// Waits until they are read.
    fn verifier(&self) -> Result<&Verifier, Error> {
        let made = self.verifier.get_or_init(|| Verifier::new(Arc::clone(&self.ring)));
        made.as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for PlatformRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // Without roots the handshake fails; offering nothing makes it fail at once.
        self.verifier().map(Verifier::supported_verify_schemes).unwrap_or_default()
    }
}
