//! `[provider.P]`: a provider file at another address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable};
use url::{Host, Url};

use super::read::{Entry, Field, Reader};
use crate::inventory::{Inventory, Problem, ProofAt, ProviderAt, durations};

/// Keys of a provider at another address.
pub(super) const OF_PROVIDER: [&str; 4] = ["file", "base", "proof", "limits"];

impl Reader<'_> {
    pub(super) fn provider(
        &mut self,
        name: &Spanned<DeString<'_>>,
        field: &Field<'_>,
        inventory: &mut Inventory,
    ) {
        let entry = Entry::default();
        let Some(table) = self.named_table(name, field, "a provider", &OF_PROVIDER) else { return };
        let before = self.problems.len();
        let bases = self.bases(table);
        if self.problems.len() > before {
            self.no_address.insert(name.get_ref().to_string());
        }
        let id = name.get_ref().to_string();
        let file = self.text(entry, table, "file").map_or_else(|| id.clone(), Spanned::into_inner);
        let provider = ProviderAt {
            span: field.span(),
            file,
            base: bases,
            proof: self.proof(table),
            limits: self.limits(table),
            id: id.clone(),
        };
        inventory.providers.insert(id, provider);
    }

    /// One address, or a table of them by name.
    fn bases(&mut self, table: &DeTable<'_>) -> BTreeMap<String, String> {
        let Some(field) = table.get("base") else { return BTreeMap::new() };
        let Some(named) = field.get_ref().as_table() else {
            let base = self.base("base", field);
            return base.map(|base| ("api".to_owned(), base)).into_iter().collect();
        };
        let mut bases = BTreeMap::new();
        for (name, field) in named {
            if !self.name(Entry::default(), name.get_ref(), name.span(), "a base") {
                continue;
            }
            if let Some(base) = self.base(&format!("base.{}", name.get_ref()), field) {
                bases.insert(name.get_ref().to_string(), base);
            }
        }
        bases
    }

    fn base(&mut self, key: &str, field: &Field<'_>) -> Option<String> {
        let text = self.string(Entry::default(), key, field)?.into_inner();
        match check_base(&text) {
            Ok(()) => Some(text),
            Err((message, hint)) => {
                let problem = Problem::at(field.span(), format!("`{key}` {message}"));
                self.push(problem.hint(hint.to_owned()).masking(field.span()));
                None
            }
        }
    }

    fn proof(&mut self, table: &DeTable<'_>) -> ProofAt {
        let entry = Entry::default();
        let Some((_, inner)) = self.table(entry, table, "proof") else { return ProofAt::default() };
        self.known_keys(entry, inner, &["refusals", "hold", "give_up", "probes"], "`proof`");
        ProofAt {
            refusals: self.count(entry, inner, "refusals"),
            hold_ms: self.duration(entry, inner, "hold"),
            give_up_ms: self.duration(entry, inner, "give_up"),
            probes: self.count(entry, inner, "probes"),
        }
    }

    fn limits(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Value> {
        let entry = Entry::default();
        let mut limits = BTreeMap::new();
        let Some((_, inner)) = self.table(entry, table, "limits") else { return limits };
        self.known_keys(entry, inner, &["in_flight", "calls", "revoke", "refused"], "`limits`");
        if let Some(count) = self.count(entry, inner, "in_flight") {
            limits.insert("in_flight".to_owned(), count.into());
        }
        for key in ["calls", "revoke", "refused"] {
            let Some(text) = self.text(entry, inner, key) else { continue };
            match durations::rate(text.get_ref()) {
                Ok(_) => {
                    limits.insert(key.to_owned(), text.into_inner().into());
                }
                Err(error) => {
                    let message = format!("`limits.{key}` is {error}");
                    self.wrong(entry, text.span(), &message, durations::BadRate::HINT);
                }
            }
        }
        limits
    }
}

/// Addresses that drivers speak. A plain-text one carries secrets: on loopback only, except where
/// the protocol's own network is plain by custom and the user says so by writing it. Databases
/// are spoken to by TLS everywhere else, whatever their scheme; an SQLite file is this machine's.
const SCHEMES: [&str; 9] =
    ["https", "http", "rediss", "redis", "postgresql", "postgres", "mysql", "mariadb", "sqlite"];

fn check_base(text: &str) -> Result<(), (&'static str, &'static str)> {
    let form = "write it like https://keys.example.com/v1";
    let url = Url::parse(text).map_err(|_| ("is no address", form))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(("has a scheme that no provider speaks", "use https, or rediss for Redis"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("holds a user or password", "name the user in vars, the password in secret"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("holds a query or fragment", form));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err((
            "would send secrets unencrypted",
            "use https; http is for addresses of this machine alone",
        ));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "https://mq.example.com:15671/api",
            "http://127.0.0.1:8080",
            "http://[::1]:1/x",
            "http://localhost",
            "redis://10.0.0.1:6379",
            "rediss://cache.example.com",
            "postgresql://db.example.com/desk",
            "sqlite://localhost/srv/desk/site.sqlite3",
        ] {
            assert_eq!(check_base(good), Ok(()), "{good}");
        }
        for (bad, message) in [
            ("", "is no address"),
            ("keys.example.com", "is no address"),
            ("https://", "is no address"),
            ("ftp://example.com", "has a scheme that no provider speaks"),
            ("http://example.com", "would send secrets unencrypted"),
            ("http://localhost.example.com", "would send secrets unencrypted"),
            ("http://10.0.0.1", "would send secrets unencrypted"),
            ("https://root@example.com", "holds a user or password"),
            ("https://:pw@example.com", "holds a user or password"),
            ("https://example.com?x=1", "holds a query or fragment"),
        ] {
            assert_eq!(check_base(bad).unwrap_err().0, message, "{bad}");
        }
    }
}
