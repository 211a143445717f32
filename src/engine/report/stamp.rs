//! Instants as the report writes them: RFC 3339, UTC, milliseconds. Nothing here reads a clock.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::engine::call::Wall;

/// An instant of the report: `2026-11-22T09:30:00.000Z`, always UTC, always milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp(pub Wall);

/// Until when something goes on living: an instant, or the word for why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Until {
    /// Then it ends by itself.
    At(Stamp),
    /// It ends by itself, and nobody says when.
    Unknown,
    /// It never ends by itself, and nothing here can end it.
    Forever,
    /// It lives until it is evicted, and it was not.
    Open,
}

/// A text that is no instant of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an instant in RFC 3339")]
pub struct BadStamp;

impl Stamp {
    /// The same instant for a calendar; outside its nine thousand years, the nearest one inside.
    pub fn timestamp(self) -> Timestamp {
        let Wall(ms) = self.0;
        let edge = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_millisecond(ms).unwrap_or(edge)
    }
}

impl Until {
    /// Whether it is an instant, and that instant is over at `now`.
    pub fn passed(self, now: Stamp) -> bool {
        matches!(self, Self::At(end) if end <= now)
    }
}

impl From<Wall> for Stamp {
    fn from(wall: Wall) -> Self {
        Self(wall)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(stamp) => stamp.fmt(f),
            Self::Unknown => f.write_str("unknown"),
            Self::Forever => f.write_str("forever"),
            Self::Open => f.write_str("open"),
        }
    }
}

impl FromStr for Stamp {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        let timestamp: Timestamp = text.parse().map_err(|_| BadStamp)?;
        Ok(Self(Wall(timestamp.as_millisecond())))
    }
}

impl FromStr for Until {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        match text {
            "unknown" => Ok(Self::Unknown),
            "forever" => Ok(Self::Forever),
            "open" => Ok(Self::Open),
            _ => text.parse().map(Self::At),
        }
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

impl TryFrom<String> for Stamp {
    type Error = BadStamp;

    fn try_from(text: String) -> Result<Self, BadStamp> {
        text.parse()
    }
}

impl From<Until> for String {
    fn from(until: Until) -> Self {
        until.to_string()
    }
}

impl TryFrom<String> for Until {
    type Error = BadStamp;

    fn try_from(text: String) -> Result<Self, BadStamp> {
        text.parse()
    }
}

/// What [`Stamp`] writes, as a regular expression. No JSON Schema `format` is needed to check it.
const STAMP: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z";

impl JsonSchema for Stamp {
    fn schema_name() -> Cow<'static, str> {
        "Stamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": format!("^{STAMP}$"),
            "description": "RFC 3339, UTC, milliseconds.",
        })
    }
}

impl JsonSchema for Until {
    fn schema_name() -> Cow<'static, str> {
        "Until".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": format!("^({STAMP}|unknown|forever|open)$"),
            "description": "An instant (it ends by itself then), `unknown` (it ends by itself, \
                            nobody says when), `forever` (it never ends by itself) or `open` (it \
                            lives until it is evicted, and it was not).",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_utc_with_three_decimals_and_reads_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_339_800_007, "2026-11-22T09:30:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Stamp(Wall(ms)).to_string(), text);
            assert_eq!(text.parse(), Ok(Stamp(Wall(ms))));
        }
        assert_eq!("2026-11-22T10:30:00.007+01:00".parse(), Ok(Stamp(Wall(1_795_339_800_007))));
        assert_eq!("yesterday".parse::<Stamp>(), Err(BadStamp));
    }

    #[test]
    fn a_clock_out_of_its_mind_is_written_not_panicked_on() {
        assert_eq!(Stamp(Wall(i64::MAX)).to_string(), "9999-12-30T22:00:00.999Z");
        assert_eq!(Stamp(Wall(i64::MIN)).timestamp(), Timestamp::MIN);
    }

    #[test]
    fn until_is_an_instant_or_a_word() {
        let end = Stamp(Wall(5000));
        for until in [Until::At(end), Until::Unknown, Until::Forever, Until::Open] {
            assert_eq!(until.to_string().parse(), Ok(until));
        }
        assert_eq!("soon".parse::<Until>(), Err(BadStamp));
        assert!(Until::At(end).passed(Stamp(Wall(5000))));
        assert!(!Until::At(end).passed(Stamp(Wall(4999))));
        assert!(!Until::Unknown.passed(Stamp(Wall(i64::MAX))));
    }
}
