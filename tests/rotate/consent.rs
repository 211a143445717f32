//! A person who consents on a page, without a browser: the device flow of RFC 8628.

use regex::Regex;
use serde_json::Value;

use crate::hosted::ask;
use crate::lab::Oidc;
use crate::oauth::{http, post};

/// A refresh token and an access token that a person consented to.
pub(crate) fn consent(oidc: &Oidc) -> (String, String) {
    let secret = Oidc::client_secret(Oidc::CLIENT);
    let client = (Oidc::CLIENT, secret.as_str());
    let offered = post(oidc, "/device/auth", client, &[("scope", "openid offline_access")]);
    let text = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
    submit_forms(&text(&offered, "verification_uri_complete"));
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", &text(&offered, "device_code")),
    ];
    let granted = post(oidc, "/token", client, &form);
    (text(&granted, "refresh_token"), text(&granted, "access_token"))
}

/// Submits form after form, signing in by name, until a page has none.
fn submit_forms(page: &str) {
    let form = Regex::new(r#"<form[^>]*action="([^"]+)""#).unwrap();
    let input = Regex::new(r#"<input[^>]*name="([^"]+)"[^>]*>"#).unwrap();
    let value = Regex::new(r#"value="([^"]*)""#).unwrap();
    // Made only to install what TLS needs: the browser is of its own, with cookies.
    drop(http());
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    ask(async {
        let mut html = browser.get(page).send().await.unwrap().text().await.unwrap();
        // Submit the code, confirm it, sign in, consent; a page more than needed is a loop.
        for _ in 0..5 {
            let Some(action) = form.captures(&html) else { break };
            let fields: Vec<(&str, &str)> = input
                .captures_iter(&html)
                .map(|field| {
                    let whole = field.get(0).unwrap().as_str();
                    let given = value.captures(whole).map(|it| it.get(1).unwrap().as_str());
                    (field.get(1).unwrap().as_str(), given.unwrap_or("ana"))
                })
                .collect();
            let next = browser.post(&action[1]).form(&fields).send().await.unwrap();
            html = next.text().await.unwrap();
        }
        assert!(html.contains("Sign-in Success"), "the person did not come to the end");
    });
}
