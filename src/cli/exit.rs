//! Exit codes: a public contract, the same for every command. This is the one place for people;
//! `engine::report::exit` computes them from a report, `docs/report.md` repeats them.

pub(crate) use crate::engine::report::exit::{
    ALIVE, FAILED, NOTHING_LEFT, SOMETHING_LEFT, STOPPED, WRONG_INPUT,
};

/// For the end of `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
    0  nothing is left for anyone
    1  rotate itself failed; the report says how far it came
    2  arguments or inventory are wrong, nothing was touched
    3  something is left, nothing is known to work
    4  an old credential still works
  130  stopped; `rotate resume` goes on";

/// What a code means, for the last line of a report.
pub(crate) fn meaning(code: u8) -> &'static str {
    match code {
        NOTHING_LEFT => "nothing is left for anyone",
        FAILED => "rotate itself failed; the report says how far it came",
        WRONG_INPUT => "arguments or inventory are wrong, nothing was touched",
        SOMETHING_LEFT => "something is left, nothing is known to work",
        ALIVE => "an old credential still works",
        STOPPED => "stopped; `rotate resume` goes on",
        _ => "not a code of rotate",
    }
}

/// The code of a report that could not be shown: an old one that works outranks our own failure.
pub(crate) fn unshown(code: u8) -> u8 {
    if matches!(code, ALIVE | STOPPED) { code } else { FAILED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_says_what_the_report_says() {
        for code in [NOTHING_LEFT, FAILED, WRONG_INPUT, SOMETHING_LEFT, ALIVE, STOPPED] {
            let line = format!("{code:>5}  {}", meaning(code));
            assert!(HELP.contains(&line), "{line}");
        }
    }

    #[test]
    fn a_report_that_cannot_be_shown_never_hides_a_live_credential() {
        assert_eq!([0, 1, 3, 4, 130].map(unshown), [1, 1, 1, 4, 130]);
    }
}
