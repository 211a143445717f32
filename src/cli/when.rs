//! Durations and instants as people type them.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::report::Stamp;

/// `--since`: an instant, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// An instant.
    At(Stamp),
    /// Before now.
    Ago(Duration),
}

impl Since {
    /// The instant it means at `now`.
    pub(crate) fn before(self, now: Timestamp) -> Stamp {
        match self {
            Self::At(stamp) => stamp,
            Self::Ago(span) => {
                let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                Stamp(crate::engine::call::Wall(now.as_millisecond().saturating_sub(ms)))
            }
        }
    }
}

/// Reads `--since`: `2026-11-22T09:00:00Z`, or `2h`.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if let Ok(stamp) = text.parse() {
        return Ok(Since::At(stamp));
    }
    duration(text)
        .map(Since::Ago)
        .map_err(|_| "write an instant such as 2026-11-22T09:00:00Z, or how long ago: 2h".into())
}

/// Whole milliseconds, as many as can be counted.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a duration: `500ms`, `90s`, `1h30m`, `7d`. Every number has its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write numbers with units: ms, s, m, h, d, such as 90s or 1h30m".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::from_millis(count.checked_mul(ms).ok_or_else(wrong)?);
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("500ms", 500), ("90s", 90_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "90", "s", "1.5h", "-1s", "1h 30m", "1y", "99999999999999999999s", "9é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_an_instant_or_so_long_ago() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let at = |text| since(text).unwrap().before(now).to_string();
        assert_eq!(at("2h"), "2026-11-22T08:00:00.000Z");
        assert_eq!(at("2026-11-22T09:30:00+01:00"), "2026-11-22T08:30:00.000Z");
        assert!(since("yesterday").is_err());
        assert!(since("2026-11-22").is_err());
    }
}
