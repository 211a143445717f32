//! Sessions in a table: which one, and the statements for it.
//!
//! Values are always bound. Names cannot be, so they have to look like names before anything is
//! sent, whatever the inventory says.

use zeroize::Zeroizing;

use super::{MOST, django, word};
use crate::engine::call::{Reason, Values};
use crate::provider::session::wire::Failure;

/// How a database writes what the others write differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Mysql,
    Sqlite,
}

impl Dialect {
    fn quoted(self, name: &str) -> String {
        let quote = if self == Self::Mysql { '`' } else { '"' };
        format!("{quote}{name}{quote}")
    }

    fn parameter(self) -> &'static str {
        if self == Self::Postgres { "$1" } else { "?" }
    }

    fn text(self) -> &'static str {
        if self == Self::Mysql { "CHAR" } else { "TEXT" }
    }

    /// Now, in UTC, as a column of that database's time compares with it.
    fn now(self) -> &'static str {
        match self {
            Self::Postgres => "CURRENT_TIMESTAMP",
            Self::Mysql => "UTC_TIMESTAMP()",
            Self::Sqlite => "datetime('now')",
        }
    }
}

/// How a table says whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A column names the user.
    Column,
    /// The data of Django's session does.
    Django,
}

impl Owner {
    /// Whether a session that was listed is the user's; `data` is what the session holds.
    pub(super) fn is<E>(
        self,
        user: &str,
        data: impl FnOnce() -> Result<String, E>,
    ) -> Result<bool, E> {
        Ok(match self {
            Self::Column => true,
            Self::Django => django::user(&Zeroizing::new(data()?)).as_deref() == Some(user),
        })
    }
}

/// The table of a site's sessions.
pub(super) struct Table {
    dialect: Dialect,
    table: String,
    column: String,
    user_column: Option<String>,
    django: bool,
}

impl Table {
    /// # Errors
    /// [`Reason::MissingValue`] without a table or column, [`Reason::Unsupported`] for what is no
    /// name.
    pub(super) fn of(values: &Values, dialect: Dialect) -> Result<Self, Failure> {
        let names = |key| word(values, key).ok_or(Reason::MissingValue);
        let table = names("table")?.split('.').map(|part| name(part, dialect));
        let user_column = word(values, "user_column").map(|it| name(it, dialect)).transpose()?;
        Ok(Self {
            dialect,
            table: table.collect::<Result<Vec<_>, _>>()?.join("."),
            column: name(names("column")?, dialect)?,
            user_column,
            django: word(values, "user_in") == Some("django"),
        })
    }

    /// Deletes the session that the one parameter is called.
    pub(super) fn removal(&self) -> String {
        let parameter = self.dialect.parameter();
        format!("DELETE FROM {} WHERE {} = {parameter}", self.table, self.column)
    }

    /// Reads what the sessions of the user in the one parameter are called; of Django, what those
    /// of everybody are called, and their data.
    ///
    /// # Errors
    /// [`Reason::MissingValue`] where nothing says whose a session is.
    pub(super) fn listing(&self) -> Result<(String, Owner), Failure> {
        let (table, column) = (&self.table, &self.column);
        // One more than is read shows that there are more.
        let most = MOST + 1;
        if let Some(user) = &self.user_column {
            let (text, parameter) = (self.dialect.text(), self.dialect.parameter());
            let listing = format!(
                "SELECT {column} FROM {table} WHERE CAST({user} AS {text}) = {parameter} \
                 LIMIT {most}"
            );
            return Ok((listing, Owner::Column));
        }
        if !self.django {
            return Err(Reason::MissingValue.into());
        }
        let (data, ends) =
            (self.dialect.quoted("session_data"), self.dialect.quoted("expire_date"));
        let now = self.dialect.now();
        let listing =
            format!("SELECT {column}, {data} FROM {table} WHERE {ends} > {now} LIMIT {most}");
        Ok((listing, Owner::Django))
    }
}

/// A name of a table, schema or column: 63 characters are the longest that PostgreSQL takes.
fn name(text: &str, dialect: Dialect) -> Result<String, Failure> {
    let mut bytes = text.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if begins && goes_on && text.len() <= 63 {
        Ok(dialect.quoted(text))
    } else {
        Err(Reason::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn each_database_gets_its_own_quotes_and_parameters() {
        let said = values(&[("table", "app.sessions"), ("column", "id"), ("user_column", "uid")]);
        let postgres = Table::of(&said, Dialect::Postgres).unwrap();
        assert_eq!(postgres.removal(), r#"DELETE FROM "app"."sessions" WHERE "id" = $1"#);
        let mysql = Table::of(&said, Dialect::Mysql).unwrap();
        assert_eq!(mysql.removal(), "DELETE FROM `app`.`sessions` WHERE `id` = ?");
        let (listing, owner) = mysql.listing().unwrap();
        assert_eq!(owner, Owner::Column);
        assert_eq!(
            listing,
            "SELECT `id` FROM `app`.`sessions` WHERE CAST(`uid` AS CHAR) = ? LIMIT 100001"
        );
    }

    #[test]
    fn what_is_no_name_is_sent_nowhere() {
        for bad in ["a; drop table b", "a\"b", "a`b", "", "1a", "a b", "ä", "a.b.", &"a".repeat(64)]
        {
            let said = values(&[("table", bad), ("column", "id")]);
            assert!(Table::of(&said, Dialect::Sqlite).is_err(), "{bad}");
            let said = values(&[("table", "t"), ("column", bad)]);
            assert!(Table::of(&said, Dialect::Postgres).is_err(), "{bad}");
        }
    }

    #[test]
    fn whose_a_session_is_has_to_be_said() {
        let said = values(&[("table", "sessions"), ("column", "session_id")]);
        let refused = Table::of(&said, Dialect::Sqlite).unwrap().listing();
        assert_eq!(refused, Err(Reason::MissingValue.into()));
    }
}
