//! The lab's throw-away folder: what a host with a broken agent on it looks like.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Place, Seed};

pub(super) const INVENTORY: &str = "inventory.toml";
pub(super) const STATE: &str = "state";

/// Where the servers listen.
pub(super) struct Addresses {
    pub(super) acme: SocketAddr,
    pub(super) archive: SocketAddr,
    pub(super) oauth: SocketAddr,
}

/// What a responder has at hand, and the agent has not.
pub(super) struct Admins<'a> {
    pub(super) acme: &'a str,
    pub(super) archive: &'a str,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

/// Writes everything: directories 0700, files 0600.
pub(super) fn fill(
    folder: &Path,
    at: &Addresses,
    admins: &Admins<'_>,
    seeds: &[Seed],
) -> io::Result<()> {
    for directory in [STATE, "responder", "mail-agent/logs", "calendar-agent"] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(directory))?;
    }
    append(&folder.join("responder/acme.key"), admins.acme)?;
    append(&folder.join("responder/archive.key"), admins.archive)?;
    let client = format!(
        "{{\n  \"client_id\": \"{}\",\n  \"client_secret\": \"{}\"\n}}\n",
        admins.client_id, admins.client_secret,
    );
    append(&folder.join("responder/inbox-client.json"), &Zeroizing::new(client))?;
    append(&folder.join("mail-agent/.env"), "# Settings of the mail agent\nLOG_LEVEL=info\n")?;
    append(&folder.join("calendar-agent/.env"), "LOG_LEVEL=info\n")?;
    append(
        &folder.join("mail-agent/logs/agent.log"),
        "09:14:02 tool send_mail: 214 recipients, no request names them\n",
    )?;
    for seed in seeds {
        for place in seed.places {
            put(folder, place, &seed.old)?;
        }
    }
    append(&folder.join(INVENTORY), &inventory(folder, at))
}

/// What a place holds; nothing if the file is there and the value is not.
pub(super) fn read(folder: &Path, place: &Place) -> io::Result<Zeroizing<String>> {
    let (Place::Dotenv { file, .. } | Place::Json { file, .. }) = place;
    let text = Zeroizing::new(fs::read_to_string(folder.join(file))?);
    let value = match place {
        Place::Dotenv { key, .. } => text
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned()),
        Place::Json { key, .. } => {
            let json: serde_json::Value = serde_json::from_str(&text)?;
            json.get(key).and_then(|value| value.as_str()).map(str::to_owned)
        }
    };
    Ok(Zeroizing::new(value.unwrap_or_default()))
}

fn put(folder: &Path, place: &Place, secret: &str) -> io::Result<()> {
    match place {
        Place::Dotenv { file, key } => {
            append(&folder.join(file), &Zeroizing::new(format!("{key}={secret}\n")))
        }
        Place::Json { file, key } => {
            let text =
                format!("{{\n  \"token_type\": \"Bearer\",\n  \"{key}\": \"{secret}\"\n}}\n");
            append(&folder.join(file), &Zeroizing::new(text))
        }
    }
}

/// The example, with this folder and these addresses in it, and no service to stop or reload.
fn inventory(folder: &Path, at: &Addresses) -> String {
    include_str!("../../inventory.example.toml")
        .replace(":/srv/", &format!(":{}/", folder.display()))
        .replace("\"/srv/", &format!("\"{}/", folder.display()))
        .replace(":/etc/rotate/", &format!(":{}/responder/", folder.display()))
        .replace("[\"systemctl\"", "[\"true\"")
        .replace("https://keys.example.com", &format!("http://{}", at.acme))
        .replace("https://archive.example.com", &format!("http://{}", at.archive))
        .replace("https://login.example.com", &format!("http://{}", at.oauth))
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
