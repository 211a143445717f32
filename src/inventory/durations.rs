//! Durations and rates as people write them: `90d`, `3s`, `600/m`.

/// What a duration must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration")]
pub(crate) struct BadDuration;

impl BadDuration {
    /// An imperative for whoever wrote it.
    pub(crate) const HINT: &str =
        "write a whole number and one of ms, s, m, h, d, w: \"90d\", \"10m\"";
}

/// What a rate must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rate")]
pub(crate) struct BadRate;

impl BadRate {
    /// An imperative for whoever wrote it.
    pub(crate) const HINT: &str = "write calls per s, m, h or d: \"600/m\"";
}

/// Milliseconds in `text`: a whole number and one of `ms`, `s`, `m` (minutes), `h`, `d`, `w`.
///
/// # Errors
/// [`BadDuration`] for anything else, and for more milliseconds than a `u64` counts.
pub(crate) fn parse(text: &str) -> Result<u64, BadDuration> {
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadDuration)?;
    let (number, unit) = text.split_at(split);
    let unit_ms = if unit == "ms" { 1 } else { unit_ms(unit).ok_or(BadDuration)? };
    let number: u64 = number.parse().map_err(|_| BadDuration)?;
    number.checked_mul(unit_ms).ok_or(BadDuration)
}

/// `N/s|m|h|d` as how many, and the window in milliseconds.
///
/// # Errors
/// [`BadRate`] for anything else.
pub(crate) fn rate(text: &str) -> Result<(u32, u64), BadRate> {
    let (count, unit) = text.split_once('/').ok_or(BadRate)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) || unit == "w" {
        return Err(BadRate);
    }
    Ok((count.parse().map_err(|_| BadRate)?, unit_ms(unit).ok_or(BadRate)?))
}

fn unit_ms(unit: &str) -> Option<u64> {
    const SECOND: u64 = 1_000;
    const DAY: u64 = 24 * 60 * 60 * SECOND;
    match unit {
        "s" => Some(SECOND),
        "m" => Some(60 * SECOND),
        "h" => Some(60 * 60 * SECOND),
        "d" => Some(DAY),
        "w" => Some(7 * DAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse("90d"), Ok(7_776_000_000));
        assert_eq!(parse("3s"), Ok(3_000));
        assert_eq!(parse("250ms"), Ok(250));
        assert_eq!(parse("10m"), Ok(600_000));
        assert_eq!(parse("2w"), Ok(1_209_600_000));
        for bad in ["", "90", "d", "-1d", "1.5h", "90 d", "1h30m", "1y", "99999999999999999999d"] {
            assert_eq!(parse(bad), Err(BadDuration), "{bad:?}");
        }
        assert_eq!(parse("18446744073709551615w"), Err(BadDuration), "overflow");
    }

    #[test]
    fn rates() {
        assert_eq!(rate("600/m"), Ok((600, 60_000)));
        assert_eq!(rate("0/h"), Ok((0, 3_600_000)));
        for bad in ["", "600", "/m", "600/", "600/w", "600/ms", "-1/m", "+1/m", "9999999999/m"] {
            assert_eq!(rate(bad), Err(BadRate), "{bad:?}");
        }
    }
}
