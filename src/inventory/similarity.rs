//! "Did you mean": the nearest of the names that exist.

/// Looks for near names while its budget lasts.
///
/// Every unknown name is compared with every known one, so 100,000 wrong entries in an inventory
/// of 100,000 would cost 10^10 comparisons. A suggestion is a courtesy; it must never be what
/// delays a run.
pub struct Nearest {
    left: usize,
}

impl Default for Nearest {
    fn default() -> Self {
        // About a second of comparing at worst, and plenty for the fifty problems that are shown.
        Self { left: 500_000 }
    }
}

/// Longer words are no slips of the finger, and comparing them costs the square of their length.
const LONGEST: usize = 64;

impl Nearest {
    /// The candidate that differs from `wanted` by the fewest edits, if these are few enough to be
    /// a slip: one, or a third of its length.
    pub fn find<'a>(
        &mut self,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if wanted.len() > LONGEST {
            return None;
        }
        let lower = wanted.to_lowercase();
        let most = (wanted.chars().count() / 3).max(1);
        let mut best: Option<(usize, &str)> = None;
        for candidate in candidates {
            if candidate.len() > LONGEST || candidate.len().abs_diff(wanted.len()) > most {
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            let edits = strsim::osa_distance(&lower, &candidate.to_lowercase());
            if edits <= most && best.is_none_or(|(fewest, _)| edits < fewest) {
                best = Some((edits, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// `did you mean ...?`, or the names there are when they are few, or nothing.
    pub fn hint<'a>(
        &mut self,
        wanted: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        if let Some(near) = self.find(wanted, candidates.clone()) {
            return Some(format!("did you mean `{near}`?"));
        }
        // Twelve names still fit on one line; more would hide the message.
        let names: Vec<&str> = candidates.into_iter().take(13).collect();
        (1..=12).contains(&names.len()).then(|| format!("use one of: {}", names.join(", ")))
    }
}

/// The nearest of `candidates`, for a single question.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    Nearest::default().find(wanted, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let names = ["mail-agent", "calendar-agent", "planner"];
        assert_eq!(nearest("mial-agent", names), Some("mail-agent"));
        assert_eq!(nearest("Planer", names), Some("planner"));
        assert_eq!(nearest("billing", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(10_000), names), None);
    }

    #[test]
    fn the_budget_ends() {
        let mut nearest = Nearest { left: 3 };
        assert_eq!(nearest.find("aab", ["aaa", "bbb"]), Some("aaa"));
        assert_eq!(nearest.find("aab", ["aaa", "bbb"]), None, "one comparison was left of two");
    }

    #[test]
    fn few_names_are_listed() {
        let mut nearest = Nearest::default();
        assert_eq!(nearest.hint("zzz", ["a", "b"]), Some("use one of: a, b".into()));
        assert_eq!(nearest.hint("zzz", []), None);
    }
}
