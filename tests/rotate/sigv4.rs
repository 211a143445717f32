//! A request of AWS's own form, signed by hand: a second opinion beside the tool's client, and one
//! that costs no process of its own.

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, RequestBuilder};
use sha2::{Digest as _, Sha256};

const TYPE: &str = "application/x-www-form-urlencoded";

/// `GetCallerIdentity`, which needs no permission.
pub(crate) fn who_am_i(http: &Client, endpoint: &str, id: &str, secret: &str) -> RequestBuilder {
    signed(http, endpoint, (id, secret), "sts", "Action=GetCallerIdentity&Version=2011-06-15")
}

/// A request to a service, signed by a key as "Signature Version 4" has it.
pub(crate) fn signed(
    http: &Client,
    endpoint: &str,
    (id, secret): (&str, &str),
    service: &str,
    body: &str,
) -> RequestBuilder {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let host = endpoint.trim_start_matches("http://");
    let scope = format!("{}/us-east-1/{service}/aws4_request", &now[..8]);
    let signed = "content-type;host;x-amz-date";
    let headers = format!("content-type:{TYPE}\nhost:{host}\nx-amz-date:{now}\n");
    let request = format!("POST\n/\n\n{headers}\n{signed}\n{}", hex(&Sha256::digest(body)));
    let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| code(&key, part));
    let signature = hex(&code(&key, &to_sign));
    let says = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    );
    let post = http.post(endpoint).header("content-type", TYPE).header("x-amz-date", now);
    post.header("authorization", says).body(body.to_owned())
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).unwrap();
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
