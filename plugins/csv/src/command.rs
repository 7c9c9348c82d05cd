//! The questions, and how a table answers them.

use std::cmp::Ordering;

use crate::decimal::Decimal;
use crate::json;
use crate::table::{Row, Table, parse_row};

pub enum Command {
    Headers,
    Select(String),
    Filter { column: String, value: String },
    Sort(String),
    Sum(String),
    ToJson,
}

impl Command {
    /// The command `name`, with the argument that some take from `argument`.
    pub fn parse(name: &str, argument: impl FnOnce() -> Option<String>) -> Option<Self> {
        Some(match name {
            "headers" => Command::Headers,
            "to-json" => Command::ToJson,
            "select" => Command::Select(argument()?),
            "sort" => Command::Sort(argument()?),
            "sum" => Command::Sum(argument()?),
            "filter" => {
                let argument = argument()?;
                let (column, value) = argument.split_once('=')?;
                Command::Filter { column: column.to_owned(), value: value.to_owned() }
            }
            _ => return None,
        })
    }

    pub fn answer(&self, mut table: Table) -> Result<String, String> {
        match self {
            Command::Headers => Ok(table.headers.iter().map(|header| format!("{header}\n")).collect()),
            Command::ToJson => Ok(json::array(&table)),
            Command::Select(columns) => select(&table, columns).map(|table| table.to_string()),
            Command::Filter { column, value } => {
                let at = table.column(column)?;
                table.rows.retain(|row| row[at] == *value);
                Ok(table.to_string())
            }
            Command::Sort(column) => {
                let at = table.column(column)?;
                sort(&mut table.rows, at);
                Ok(table.to_string())
            }
            Command::Sum(column) => sum(&table, table.column(column)?).map(|sum| format!("{sum}\n")),
        }
    }
}

/// `columns` is a row as in the file, so that a name with a comma can be quoted.
fn select(table: &Table, columns: &str) -> Result<Table, String> {
    let names = parse_row(columns)?;
    let at = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let pick = |row: &Row| at.iter().map(|at| row[*at].clone()).collect();
    Ok(Table { headers: names, rows: table.rows.iter().map(pick).collect(), newline: table.newline })
}

/// Rows that are alike there stay in their order.
fn sort(rows: &mut [Row], at: usize) {
    // Beside numbers, text has no place that everyone would look for it at.
    let is_number = |row: &Row| row[at].is_empty() || number(&row[at]).is_some();
    match rows.iter().all(is_number) {
        true => rows.sort_by(|one, other| by_size(&one[at], &other[at])),
        false => rows.sort_by(|one, other| one[at].cmp(&other[at])),
    }
}

/// Empty cells before all numbers.
fn by_size(one: &str, other: &str) -> Ordering {
    let (one, other) = (number(one), number(other));
    one.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

fn number(cell: &str) -> Option<f64> {
    cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Empty cells count as nothing.
fn sum(table: &Table, at: usize) -> Result<Decimal, String> {
    let mut sum = Decimal::default();
    for (index, row) in table.rows.iter().enumerate() {
        let cell = row[at].trim();
        if cell.is_empty() {
            continue;
        }
        let number = Decimal::parse(cell).ok_or_else(|| {
            format!("`{cell}` in column `{}` of row {} is no decimal number", table.headers[at], index + 1)
        })?;
        sum = sum.plus(number).ok_or("the sum has more than 38 digits")?;
    }
    Ok(sum)
}
