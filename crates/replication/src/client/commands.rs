//! The replication commands that answer with rows.

use bytes::Bytes;
use wal::{Lsn, SegmentSize, SystemId, TimelineId};

use super::connection::unexpected;
use super::error::ClientError;
use super::types::{IdentifySystem, ResultSet, SlotInfo, SlotOptions};
use super::{Client, Connection};
use crate::error::ServerError;
use crate::message::{BackendMessage, FrontendMessage};

/// More rows or results than any command here gives: a server that goes on and on is stopped.
const MOST_RESULT_BYTES: usize = 64 << 20;

impl Client {
    /// Runs a command, or SQL where the connection allows it, and gives every result.
    pub async fn simple_query(&mut self, query: &str) -> Result<Vec<ResultSet>, ClientError> {
        self.connection.queue(&FrontendMessage::Query(query.to_owned()));
        self.connection.flush().await?;
        collect_results(&mut self.connection).await
    }

    /// IDENTIFY_SYSTEM.
    pub async fn identify_system(&mut self) -> Result<IdentifySystem, ClientError> {
        const WHAT: &str = "identify system";
        let result = self.one_row(WHAT, "IDENTIFY_SYSTEM", 4).await?;
        Ok(IdentifySystem {
            system_id: SystemId::new(parsed(WHAT, &result, 0)?),
            timeline: TimelineId::new(parsed(WHAT, &result, 1)?),
            flush: parsed(WHAT, &result, 2)?,
            dbname: result.text(0, 3).map(str::to_owned),
        })
    }

    /// SHOW: a setting's value.
    pub async fn show(&mut self, name: &str) -> Result<String, ClientError> {
        let result = self.one_row("show a setting", &format!("SHOW {name}"), 1).await?;
        Ok(result.text(0, 0).unwrap_or_default().to_owned())
    }

    /// SHOW wal_segment_size.
    pub async fn wal_segment_size(&mut self) -> Result<SegmentSize, ClientError> {
        let text = self.show("wal_segment_size").await?;
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..).unwrap_or_default() {
            "MB" => Some(1_u64 << 20),
            "GB" => Some(1 << 30),
            "kB" => Some(1 << 10),
            "B" | "" => Some(1),
            _ => None,
        };
        let bytes = unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit));
        bytes.and_then(|bytes| SegmentSize::new(bytes).ok()).ok_or_else(|| ClientError::BadAnswer {
            what: "fetch WAL segment size",
            problem: format!("\"{text}\" is no segment size"),
        })
    }

    /// TIMELINE_HISTORY: the history file's name and content.
    pub async fn timeline_history(&mut self, timeline: TimelineId) -> Result<(String, Bytes), ClientError> {
        const WHAT: &str = "fetch timeline history";
        let result = self.one_row(WHAT, &format!("TIMELINE_HISTORY {timeline}"), 2).await?;
        let name = result.text(0, 0).unwrap_or_default().to_owned();
        if name != timeline.history_file_name() {
            let problem = format!("unexpected history file name \"{name}\" for timeline {timeline}");
            return Err(ClientError::BadAnswer { what: WHAT, problem });
        }
        let content = result.rows.into_iter().next().and_then(|mut row| row.pop()).flatten();
        Ok((name, content.unwrap_or_default()))
    }

    /// CREATE_REPLICATION_SLOT for physical replication. A slot that exists is a server error, `42710`.
    pub async fn create_physical_slot(
        &mut self,
        name: &str,
        options: SlotOptions,
    ) -> Result<(), ClientError> {
        let temporary = if options.temporary { " TEMPORARY" } else { "" };
        let reserve = match (options.reserve_wal, self.server_version().major() >= 15) {
            (false, _) => "",
            (true, true) => " (RESERVE_WAL)",
            (true, false) => " RESERVE_WAL",
        };
        let command = format!("CREATE_REPLICATION_SLOT {}{temporary} PHYSICAL{reserve}", quoted(name));
        self.one_row("create replication slot", &command, 4).await.map(drop)
    }

    /// DROP_REPLICATION_SLOT.
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), ClientError> {
        self.simple_query(&format!("DROP_REPLICATION_SLOT {}", quoted(name))).await.map(drop)
    }

    /// READ_REPLICATION_SLOT: `None` if there is no such slot. Servers before 15 cannot.
    pub async fn read_slot(&mut self, name: &str) -> Result<Option<SlotInfo>, ClientError> {
        const WHAT: &str = "read replication slot";
        if self.server_version().major() < 15 {
            let actual = self.server_version().to_string();
            return Err(ClientError::TooOld { what: "READ_REPLICATION_SLOT", required: 15, actual });
        }
        let result = self.one_row(WHAT, &format!("READ_REPLICATION_SLOT {}", quoted(name)), 3).await?;
        match result.text(0, 0) {
            None => Ok(None),
            Some("physical") => Ok(Some(SlotInfo {
                restart_lsn: optional(WHAT, &result, 1)?,
                timeline: optional(WHAT, &result, 2)?.map(TimelineId::new),
            })),
            Some(other) => {
                let problem = format!("slot \"{name}\" is of type \"{other}\"");
                Err(ClientError::BadAnswer { what: WHAT, problem })
            }
        }
    }

    /// Runs a command that must give one row of at least `columns` columns.
    async fn one_row(
        &mut self,
        what: &'static str,
        command: &str,
        columns: usize,
    ) -> Result<ResultSet, ClientError> {
        let mut results = self.simple_query(command).await?;
        let shape = match results.first() {
            Some(result) => (result.rows.len(), result.columns.len()),
            None => (0, 0),
        };
        if results.len() != 1 || shape.0 != 1 || shape.1 < columns {
            let problem = format!(
                "got {} rows and {} fields, expected 1 row and {columns} or more fields",
                shape.0, shape.1
            );
            return Err(ClientError::BadAnswer { what, problem });
        }
        Ok(results.swap_remove(0))
    }
}

/// A name as the command language wants it in any case.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The value at `column` of the first row.
pub(super) fn parsed<T: std::str::FromStr>(
    what: &'static str,
    result: &ResultSet,
    column: usize,
) -> Result<T, ClientError> {
    optional(what, result, column)?.ok_or_else(|| bad_value(what, result, column))
}

/// The value at `column` of the first row, unless it is NULL.
fn optional<T: std::str::FromStr>(
    what: &'static str,
    result: &ResultSet,
    column: usize,
) -> Result<Option<T>, ClientError> {
    let Some(text) = result.text(0, column) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| bad_value(what, result, column))
}

fn bad_value(what: &'static str, result: &ResultSet, column: usize) -> ClientError {
    let name = result.columns.get(column).map_or("?", |column| column.name.as_str());
    let problem = format!("cannot make sense of {name} \"{}\"", result.text(0, column).unwrap_or_default());
    ClientError::BadAnswer { what, problem }
}

/// Everything up to ReadyForQuery; the first error, if there was one.
pub(super) async fn collect_results(connection: &mut Connection) -> Result<Vec<ResultSet>, ClientError> {
    let mut results = Vec::new();
    let mut current = ResultSet::default();
    let mut failure: Option<Box<ServerError>> = None;
    let mut size = 0_usize;
    loop {
        match connection.next_message().await? {
            BackendMessage::RowDescription(columns) => {
                current = ResultSet { columns, ..ResultSet::default() }
            }
            BackendMessage::DataRow(row) => {
                size += row.iter().flatten().map(Bytes::len).sum::<usize>() + 32;
                if size > MOST_RESULT_BYTES {
                    return Err(ClientError::Unexpected("result of excessive size".to_owned()));
                }
                if row.len() != current.columns.len() {
                    return Err(ClientError::Unexpected("row of another width than announced".to_owned()));
                }
                // Copied, so that a small value does not keep a receive buffer alive.
                let own = |value: Option<Bytes>| value.map(|value| Bytes::copy_from_slice(&value));
                current.rows.push(row.into_iter().map(own).collect());
            }
            BackendMessage::CommandComplete(tag) => {
                size += 64;
                if size > MOST_RESULT_BYTES {
                    return Err(ClientError::Unexpected("results without end".to_owned()));
                }
                current.tag = tag;
                results.push(std::mem::take(&mut current));
            }
            BackendMessage::EmptyQueryResponse => (),
            BackendMessage::ErrorResponse(error) if error.is_fatal() => return Err(error.into()),
            BackendMessage::ErrorResponse(error) => failure = failure.or(Some(error)),
            BackendMessage::ReadyForQuery(_) => match failure {
                Some(error) => return Err(error.into()),
                None => return Ok(results),
            },
            other => return Err(unexpected(&other)),
        }
    }
}

/// The LSN in a result, for the streams.
pub(super) fn lsn_at(what: &'static str, result: &ResultSet, column: usize) -> Result<Lsn, ClientError> {
    parsed(what, result, column)
}
