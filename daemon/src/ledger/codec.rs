//! How values of ours stand in columns, and the three ways to run a statement.

use super::error::LedgerError;
use crate::model::task::TaskState;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A count; SQLite integers end at 2^63.
pub(super) struct U64(pub u64);

/// A time, in microseconds since the epoch.
pub(super) struct At(pub Timestamp);

/// A value as JSON text.
pub(super) struct Json<T>(pub T);

/// A task's state as its word.
pub(super) struct Word(pub TaskState);

impl ToSql for U64 {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(value.into())
    }
}

impl FromSql for U64 {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value).map(Self).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        Timestamp::from_microsecond(value).map(Self).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for Word {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.word().into())
    }
}

impl FromSql for Word {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        TaskState::from_word(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// The cells of a row, from left to right.
pub(super) struct Cells<'a, 'row> {
    row: &'a Row<'row>,
    next: usize,
}

impl<'a, 'row> Cells<'a, 'row> {
    pub fn of(row: &'a Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    /// The next one.
    pub fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    /// The next one, as a time.
    pub fn time(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        Ok(self.next::<Option<At>>()?.map(|at| at.0))
    }
}

/// A count in a column.
pub(super) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, U64>(column).map(|value| value.0)
}

/// A time that may be missing.
pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<At>>(column).map(|value| value.map(|at| at.0))
}

/// A JSON value in a column.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get::<_, Json<T>>(column).map(|value| value.0)
}

/// Runs a statement; gives the number of rows it changed.
pub(super) fn run(sql: &Connection, text: &str, params: impl Params) -> Result<usize, LedgerError> {
    Ok(sql.prepare_cached(text)?.execute(params)?)
}

/// The first row of a query, if there is one.
pub(super) fn one<T>(
    sql: &Connection,
    text: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, LedgerError> {
    Ok(sql.prepare_cached(text)?.query_row(params, map).optional()?)
}

/// All rows of a query.
pub(super) fn all<T>(
    sql: &Connection,
    text: &str,
    params: impl Params,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, LedgerError> {
    let mut statement = sql.prepare_cached(text)?;
    let rows = statement.query_map(params, map)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
