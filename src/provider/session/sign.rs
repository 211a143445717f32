//! Signing out, everywhere or here, and signing in.

use http::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use super::cookie::{Jar, handed};
use super::handed::Given;
use super::page::Reception;
use super::site::{Form, Site};
use super::wire::{Answered, Failure, refused};
use crate::engine::call::Reason;
use crate::provider::Acting;
use crate::secret::Secret;

/// How often a sign-out that hands us another living session is followed: once is a site that
/// changes its ids, three times one that never ends.
const FOLLOWED: usize = 3;

/// What ended a session, or found it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The other side says so.
    Said,
    /// It was over before.
    Before,
}

/// What a visitor shows: the cookie that this is about, and the one that its sessions have.
#[derive(Clone, Copy)]
pub(super) struct Cookies<'a> {
    /// The credential's own.
    pub(super) own: &'a str,
    /// The session's: the same, but for a remember-me cookie.
    pub(super) session: &'a str,
}

impl<'a> Cookies<'a> {
    /// # Errors
    /// [`Reason::MissingValue`] without a name.
    pub(super) fn of(site: &Site<'a>) -> Result<Self, Failure> {
        let own = site.demand("cookie")?;
        Ok(Self { own, session: site.word("session_cookie").unwrap_or(own) })
    }

    /// Those of a session alone, without the credential that signed it in.
    fn of_session(self) -> Self {
        Self { own: self.session, ..self }
    }

    /// What an answer hands us: another session than the one that was shown.
    fn handed(self, answered: &Answered, shown: &Secret) -> Vec<Secret> {
        handed(&answered.headers, self.session, Some(shown))
    }
}

/// How the site receives a cookie, and the sessions that it hands to one whom it knows. They are
/// remembered before anything else is waited for: a call may end at any time.
pub(super) async fn look(
    site: &Site<'_>,
    cookies: Cookies<'_>,
    shown: &Secret,
    given: Given<'_>,
) -> Result<(Reception, Vec<Secret>), Failure> {
    let (reception, answered) = site.receives(&Jar::of(cookies.own, shown)).await?;
    let known = matches!(reception, Reception::Known(_));
    let handed = if known { cookies.handed(&answered, shown) } else { Vec::new() };
    given.add(&handed);
    Ok((reception, handed))
}

/// Signs out every session that was handed to us; without a path it finds them over.
///
/// # Errors
/// A refusal, where one of them still lives after it.
pub(super) async fn handed_out(
    site: &Site<'_>,
    path: Option<&str>,
    cookies: Cookies<'_>,
    given: Given<'_>,
) -> Result<(), Failure> {
    let cookies = cookies.of_session();
    for _ in 0..FOLLOWED {
        for session in &given.living() {
            // Without a look before it: that may be what hands us the next one.
            let refusal = match path {
                Some(path) => match out(site, path, cookies, session, given).await {
                    Ok(_) => None,
                    Err(refusal @ Failure::Refused(_)) => Some(refusal),
                    Err(failure) => return Err(failure),
                },
                None => Some(handed_anew()),
            };
            // Most sites end the ids of one session together; what is over refuses its sign-out.
            if let Some(refusal) = refusal
                && opens(site, cookies, session, given).await?
            {
                return Err(refusal);
            }
            given.strike(session);
        }
    }
    if given.living().is_empty() { Ok(()) } else { Err(handed_anew()) }
}

fn handed_anew() -> Failure {
    refused(Reason::Refused, "handed-anew")
}

/// Whether a session opens the page.
async fn opens(
    site: &Site<'_>,
    cookies: Cookies<'_>,
    session: &Secret,
    given: Given<'_>,
) -> Result<bool, Failure> {
    let (reception, _) = look(site, cookies, session, given).await?;
    Ok(matches!(reception, Reception::Known(_)))
}

/// Signs a session out at `path`, and every living session that the site hands us instead.
///
/// # Errors
/// A refusal, where the session still lives after it.
pub(super) async fn out(
    site: &Site<'_>,
    path: &str,
    cookies: Cookies<'_>,
    session: &Secret,
    given: Given<'_>,
) -> Result<Ended, Failure> {
    let (first, mut fresh) = once(site, path, cookies, session, given).await?;
    let cookies = cookies.of_session();
    for _ in 0..FOLLOWED {
        let Some(next) = fresh.pop() else { return Ok(first) };
        // A fresh id for a visitor whom nobody knows opens nothing: it is dropped.
        if opens(site, cookies, &next, given).await? {
            fresh.extend(once(site, path, cookies, &next, given).await?.1);
        }
        given.strike(&next);
    }
    if fresh.is_empty() { Ok(first) } else { Err(handed_anew()) }
}

/// One sign-out, and the sessions that were handed to us on the way.
async fn once(
    site: &Site<'_>,
    path: &str,
    cookies: Cookies<'_>,
    session: &Secret,
    given: Given<'_>,
) -> Result<(Ended, Vec<Secret>), Failure> {
    let mut jar = Jar::of(cookies.own, session);
    let mut fresh = Vec::new();
    let mut hand = |answered: &Answered| {
        let handed = cookies.handed(answered, session);
        given.add(&handed);
        fresh.extend(handed);
    };
    let mut form = Form::new();
    let mut token = None;
    if let Some(page) = site.word("csrf_page") {
        let (found, answered) = site.fetch_token(page, &mut jar).await.map_err(Failure::before)?;
        hand(&answered);
        token = found;
    } else if cookies.own != cookies.session {
        // A remember-me cookie is signed out through the session that it opens.
        let answered = site.get(site.demand("page")?, &jar).await.map_err(Failure::before)?;
        hand(&answered);
        jar.take(&answered.headers);
    }
    if let (Some(name), Some(token)) = (site.word("csrf_field"), &token) {
        form.push((name.to_owned(), text(token)?));
    }
    let method = match site.word("logout_method") {
        Some("GET") => Method::GET,
        Some("DELETE") => Method::DELETE,
        _ => Method::POST,
    };
    let submitted = site.submit(method.clone(), path, &jar, (&form, token.as_ref()));
    let mut answered = submitted.await?;
    hand(&answered);
    // The page may have handed us another one in its place: then that one was signed out. It goes
    // first because a site that replaces an id has ended the old one, and its token is the new
    // one's; a site that keeps both takes the same token again, or refuses it.
    let replaced = jar.get(cookies.own).is_none_or(|own| !own.same(session));
    if replaced && opens(site, cookies, session, given).await? {
        jar.put(cookies.own, session.duplicate());
        answered = site.submit(method, path, &jar, (&form, token.as_ref())).await?;
        hand(&answered);
    }
    if (200..400).contains(&answered.status) {
        return Ok((Ended::Said, fresh));
    }
    match look(site, cookies, session, given).await {
        Ok((Reception::Nobody(..), _)) => Ok((Ended::Before, fresh)),
        _ => Err(answered.refusal(Reason::Refused)),
    }
}

/// Signs in as an account, and gives the cookie that this is about.
///
/// # Errors
/// A refusal of the account; a lost answer once the password was sent.
pub(super) async fn r#in(
    site: &Site<'_>,
    cookies: Cookies<'_>,
    account: &Acting,
) -> Result<Secret, Failure> {
    let path = site.demand("login")?;
    let user = account.vars.get("username").and_then(Value::as_str).ok_or(Reason::MissingValue)?;
    let password = account.parts.secret.get("secret").ok_or(Reason::MissingValue)?;
    let mut jar = Jar::default();
    // A site without a page there has no token either, and says so to the form.
    let (token, _) = site.fetch_token(path, &mut jar).await.map_err(Failure::before)?;
    let before = jar.get(cookies.own).map(Secret::duplicate);
    let field = |name, usual| site.word(name).unwrap_or(usual).to_owned();
    let password_field = field("password_field", "password");
    let mut form: Form = vec![
        (field("user_field", "username"), Zeroizing::new(user.to_owned())),
        (password_field.clone(), text(password)?),
    ];
    if let (Some(name), Some(token)) = (site.word("csrf_field"), &token) {
        form.push((name.to_owned(), text(token)?));
    }
    let ticked = site.word("remember_field").filter(|_| cookies.own != cookies.session);
    form.extend(ticked.map(|name| (name.to_owned(), Zeroizing::new("1".to_owned()))));
    let answered = site.submit(Method::POST, path, &jar, (&form, token.as_ref())).await?;
    jar.take(&answered.headers);
    let refused = || answered.refusal(Reason::ActorRefused);
    if answered.status >= 400 {
        return Err(refused());
    }
    let cookie = jar.get(cookies.own).ok_or_else(refused)?.duplicate();
    // A cookie that only this answer brought may be a session that the page knows in a moment, when
    // its replicas do. Thrown away it would live, and nobody would know of it: its proof decides.
    let brought = before.is_none_or(|before| !before.same(&cookie));
    if brought && !asks_again(&answered, path, &password_field) {
        return Ok(cookie);
    }
    // Sites without users give everybody a session.
    match site.receives(&Jar::of(cookies.own, &cookie)).await {
        Ok((Reception::Nobody(..), _)) => Err(refused()),
        _ => Ok(cookie),
    }
}

/// Whether a sign-in leads back to itself, or shows its form again, as a 200.
fn asks_again(answered: &Answered, path: &str, password_field: &str) -> bool {
    match answered.leads_to() {
        Some(to) => to.contains(path),
        None => answered.text().contains(password_field),
    }
}

/// Bytes of a secret as the text that a form takes.
fn text(secret: &Secret) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| Reason::Unsupported)?;
    Ok(Zeroizing::new(text.to_owned()))
}
