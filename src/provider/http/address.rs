//! Where a request may go: a base, and nowhere else.

use url::Url;
use zeroize::Zeroizing;

use super::Live;
use super::scene::{Found, Scene, var};
use crate::engine::call::{Reason, Values, Why};
use crate::provider::Bases;
use crate::provider::catalog::safe_scheme;
use crate::provider::spec::Base;
use crate::provider::spec::call::Target;
use crate::provider::spec::judge::as_text;
use crate::provider::spec::marker::{Named, Piece};
use crate::provider::spec::shape::Shape;

/// The address of one base, its vars in place.
pub(crate) fn base(live: &Live, name: &str, vars: &Values) -> Result<Url, Why> {
    if let Some(url) = live.bases.get(name) {
        return Ok(url.clone());
    }
    let Base::Fixed(named) = &live.spec.base else { return Err(Reason::MissingValue.into()) };
    let text = named.get(name).ok_or(Reason::MissingValue)?;
    let mut written = String::new();
    for piece in &text.0 {
        match piece {
            Piece::Plain(plain) => written.push_str(plain),
            Piece::Marker(marker) => {
                let Named::Var { name, .. } = &marker.value else {
                    return Err(Reason::LeftBase.into());
                };
                let value = var(live, vars, name).as_ref().and_then(as_text);
                let value = value.ok_or(Reason::MissingValue)?;
                if !host_label(live, name, &value) {
                    return Err(Reason::LeftBase.into());
                }
                written.push_str(&value);
            }
        }
    }
    Url::parse(&written).map_err(|_| Reason::LeftBase.into())
}

/// Whether a var may stand in a host: what its own rule allows, and nothing that ends a host.
fn host_label(live: &Live, name: &str, value: &str) -> bool {
    let Some(rule) = live.spec.vars.get(name) else { return false };
    let listed = rule.one_of.is_empty() || rule.one_of.iter().any(|one| one == value);
    let like = rule
        .like
        .as_ref()
        .is_none_or(|like| Shape::whole(like).is_ok_and(|shape| shape.matches(value)));
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    let dots = value.starts_with('.') || value.ends_with('.') || value.contains("..");
    listed && like && !dots && !value.is_empty() && value.chars().all(letters)
}

/// Every base, for native code.
pub(crate) fn bases(live: &Live, values: &Values) -> Result<Bases, Why> {
    let mut bases: Bases = live.bases.clone();
    if let Base::Fixed(named) = &live.spec.base {
        for name in named.keys() {
            bases.insert(name.clone(), base(live, name, values)?);
        }
    }
    Ok(bases)
}

/// Whether a URL goes to the very server that a base names.
pub(crate) fn lies_on(url: &Url, base: &Url) -> bool {
    safe_scheme(url)
        && url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
}

pub(crate) fn place(scene: &Scene<'_>, target: &Target) -> Result<(Url, Url), Why> {
    // The base's host is not read again for each request.
    let join = |base: Url, path: &str| {
        let written = Zeroizing::new(format!("{}{path}", base.path().trim_end_matches('/')));
        let url = base.join(&written).map_err(|_| Reason::LeftBase)?;
        let below = url.path().starts_with(base.path().trim_end_matches('/'));
        if lies_on(&url, &base) && below { Ok((url, base)) } else { Err(Reason::LeftBase.into()) }
    };
    match target {
        Target::Path { base: name, path } => {
            join(base(scene.live, name, scene.values)?, &scene.path(path)?)
        }
        Target::Whole(marker) => {
            let Some(Found::Public(value)) = scene.marker(marker)? else {
                return Err(Reason::MissingValue.into());
            };
            let written = as_text(&value).ok_or(Reason::MissingValue)?;
            if written.starts_with('/') {
                if written.contains(['?', '#', '\\', '%']) || written.contains(char::is_control) {
                    return Err(Reason::LeftBase.into());
                }
                whole_path(&written)?;
                return join(base(scene.live, "api", scene.values)?, &written);
            }
            let url = Url::parse(&written).map_err(|_| Reason::LeftBase)?;
            let bases = bases(scene.live, scene.values)?;
            let base = bases.into_values().find(|base| lies_on(&url, base));
            base.map(|base| (url, base)).ok_or_else(|| Reason::LeftBase.into())
        }
    }
}

/// One slash, then segments that stay where they are.
pub(crate) fn whole_path(path: &str) -> Result<(), Why> {
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    if !path.starts_with('/') || path.starts_with("//") || dots {
        return Err(Reason::LeftBase.into());
    }
    Ok(())
}
