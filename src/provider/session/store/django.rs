//! Whose a session of Django is. Its data is signed, not encrypted: reading it needs no key.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest session that is unpacked, in bytes: Django's own hold a few hundred.
const DATA_MAX: u64 = 1024 * 1024;

/// The user of `django.contrib.auth` in `session_data`: `PAYLOAD:TIME:SIGNATURE`, the payload
/// base64 of JSON, compressed where it begins with a dot (`django.core.signing.dumps`).
pub(super) fn user(data: &str) -> Option<String> {
    let payload = data.split(':').next()?;
    let (packed, coded) = match payload.strip_prefix('.') {
        Some(coded) => (true, coded),
        None => (false, payload),
    };
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(coded).ok()?);
    let mut json = Zeroizing::new(Vec::new());
    if packed {
        ZlibDecoder::new(&bytes[..]).take(DATA_MAX).read_to_end(&mut json).ok()?;
    } else {
        json.extend_from_slice(&bytes);
    }
    let session: Value = serde_json::from_slice(&json).ok()?;
    match session.get("_auth_user_id")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_user_is_read_packed_and_plain() {
        let json =
            br#"{"_auth_user_id":"17","_auth_user_hash":"0123456789abcdef0123456789abcdef"}"#;
        let plain = URL_SAFE_NO_PAD.encode(json);
        assert_eq!(user(&format!("{plain}:1vABCD:signature")).as_deref(), Some("17"));
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(json).unwrap();
        let packed = URL_SAFE_NO_PAD.encode(packer.finish().unwrap());
        assert_eq!(user(&format!(".{packed}:1vABCD:signature")).as_deref(), Some("17"));
    }

    #[test]
    fn a_session_of_nobody_has_no_user() {
        let anonymous = URL_SAFE_NO_PAD.encode(br#"{"cart":[1]}"#);
        for data in [anonymous.as_str(), "", ".", ".AAAA:1:2", "!!!", "bnVsbA"] {
            assert_eq!(user(data), None, "{data}");
        }
    }
}
