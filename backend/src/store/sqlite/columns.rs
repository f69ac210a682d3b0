//! Columns and their values: each is named, read and bound by the same line of a list ([`columns!`]), from which the text
//! of every statement is derived, once.

use std::fmt::Display;

use rusqlite::{
    Connection, Params, Row, Statement, ToSql,
    types::{FromSql, Null},
};

use super::transaction_error::TransactionError;

/// What stands in one column.
pub(super) trait Scalar: Sized {
    /// As SQLite has it.
    type Raw: FromSql;

    /// Reads it; or says what it is that means nothing.
    fn decode(raw: Self::Raw) -> Result<Self, String>;

    /// Writes it.
    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError>;
}

/// What stands in one column, or in several that belong together: up to a whole row.
pub(super) trait Value: Sized {
    /// The names of its columns, in the order in which they are read and bound. `name` is what the list calls it.
    fn names(name: &str) -> Vec<String>;

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError>;

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError>;
}

impl<T: Scalar> Value for T {
    fn names(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let raw = columns.raw()?;
        T::decode(raw).map_err(|value| columns.unreadable(value))
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        Scalar::bind(self, parameters)
    }
}

impl<T: Scalar> Value for Option<T> {
    fn names(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        match columns.raw()? {
            Some(raw) => T::decode(raw).map(Some).map_err(|value| columns.unreadable(value)),
            None => Ok(None),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        match self {
            Some(value) => Scalar::bind(value, parameters),
            None => parameters.raw(Null),
        }
    }
}

/// A value some of whose columns no index is made of. SQLite maintains an index for every statement that names one of its
/// columns, changed or not.
pub(super) trait PartlyIndexed: Value {
    /// The last of its names: those of the columns that are in no index.
    fn unindexed_names() -> Vec<String>;

    fn bind_unindexed(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError>;
}

/// Makes a [`Value`] of a type: its fields, each with the name of its column, of which those of several columns make
/// several names. The compiler sees to it that no field is forgotten.
macro_rules! columns {
    ($row:ty { $($field:ident: $name:literal),+ $(,)? }) => {
        impl Value for $row {
            fn names(_: &str) -> Vec<String> {
                [$(names_of($name, |row: &Self| &row.$field)),+].concat()
            }

            fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
                Ok(Self { $($field: columns.value()?),+ })
            }

            fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
                $(parameters.value(&self.$field)?;)+
                Ok(())
            }
        }
    };
    (
        $row:ty { $($field:ident: $name:literal),+ $(,)? }
        unindexed { $($other:ident: $other_name:literal),+ $(,)? }
    ) => {
        columns!($row { $($field: $name,)+ $($other: $other_name),+ });

        impl PartlyIndexed for $row {
            fn unindexed_names() -> Vec<String> {
                [$(names_of($other_name, |row: &Self| &row.$other)),+].concat()
            }

            fn bind_unindexed(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
                $(parameters.value(&self.$other)?;)+
                Ok(())
            }
        }
    };
}

/// The text of a statement, made when it is first needed: as [`format!`], in which the rest is evaluated once.
macro_rules! sql {
    ($($format:tt)+) => {{
        static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!($($format)+));
        TEXT.as_str()
    }};
}

pub(super) use {columns, sql};

/// The names of the columns of one field.
pub(super) fn names_of<R, V: Value>(name: &str, _field: fn(&R) -> &V) -> Vec<String> {
    V::names(name)
}

/// The columns of a row, as they stand between SELECT and FROM.
pub(super) fn list<V: Value>() -> String {
    V::names("").join(", ")
}

/// Columns with their placeholders, as they stand behind INSERT INTO.
pub(super) fn values<V: Value>() -> String {
    let names = V::names("");
    format!("({}) VALUES ({})", names.join(", "), placeholders(&names))
}

/// Columns with their placeholders, as they stand behind UPDATE … SET.
pub(super) fn assignments(names: &[String]) -> String {
    format!("({}) = ({})", names.join(", "), placeholders(names))
}

fn placeholders(names: &[String]) -> String {
    vec!["?"; names.len()].join(", ")
}

/// All rows that a query finds.
pub(super) fn all<V: Value>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<V>, TransactionError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Columns::of(row).value()?);
    }
    Ok(found)
}

/// The first row that a query finds.
pub(super) fn first<V: Value>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<V>, TransactionError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map(|row| Columns::of(row).value()).transpose()
}

/// The columns of one row, read from left to right.
pub(super) struct Columns<'row> {
    row: &'row Row<'row>,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) const fn of(row: &'row Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    /// The next value.
    pub(super) fn value<V: Value>(&mut self) -> Result<V, TransactionError> {
        V::read(self)
    }

    /// The next column, as it is.
    pub(super) fn raw<T: FromSql>(&mut self) -> Result<T, TransactionError> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// The column that was read last holds something that means nothing.
    pub(super) fn unreadable(&self, value: impl Display) -> TransactionError {
        let name = self.row.as_ref().column_name(self.next.saturating_sub(1));
        unreadable(name.unwrap_or("?"), value)
    }
}

/// A column holds something that means nothing.
pub(super) fn unreadable(column: &str, value: impl Display) -> TransactionError {
    let value = value.to_string().chars().take(200).collect();
    TransactionError::Unreadable { column: column.to_owned(), value }
}

/// The parameters of one statement, written from left to right.
pub(super) struct Parameters<'a, 'conn> {
    statement: &'a mut Statement<'conn>,
    next: usize,
}

impl<'a, 'conn> Parameters<'a, 'conn> {
    pub(super) const fn of(statement: &'a mut Statement<'conn>) -> Self {
        Self { statement, next: 1 }
    }

    /// The next value.
    pub(super) fn value(&mut self, value: &impl Value) -> Result<(), TransactionError> {
        value.bind(self)
    }

    /// The next parameter, as it is.
    pub(super) fn raw(&mut self, value: impl ToSql) -> Result<(), TransactionError> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }

    /// Runs the statement. Returns how many rows it changed.
    pub(super) fn execute(self) -> Result<usize, TransactionError> {
        Ok(self.statement.raw_execute()?)
    }
}
