//! What a person reads when a command cannot go on: what happened, then what to do.

use std::fmt;

use super::exit;

/// Why a command ends without a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Lower-case fragment, naming credential and provider where there is one. Never a secret.
    message: String,
    /// An imperative.
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Arguments or inventory are wrong, and nothing was touched.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: exit::WRONG_INPUT }
    }

    /// rotate itself failed.
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: exit::FAILED }
    }

    /// A person said no.
    pub(crate) fn stopped(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: exit::STOPPED }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code it ends with.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the inventory's parser rendered begins each of its errors so itself.
        let message = self.message.strip_prefix("error: ").unwrap_or(&self.message);
        write!(f, "error: {message}")?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
