//! Encoding the records that are not page changes, into buffers used again and again.
//!
//! What is encoded here lacks length, prev-link and checksum, which [`super::Appender::append`] writes.
//! Source: `access/xlogrecord.h`, `XactLogCommitRecord` in `access/transam/xact.c`, `replication/message.h`,
//! `xl_restore_point` in `access/xlog_internal.h`.

use std::time::{SystemTime, UNIX_EPOCH};

use wal::Lsn;
use wal::payload::{RecordTime, XlogRecord};
use wal::record::{RecordHeader, RelFileLocator, ResourceManager, Xid};

use crate::TreeId;

/// Opcode of a restore point.
const RESTORE_POINT: u8 = 0x70;
/// Bytes of a restore point's name, its terminating zero included.
const RESTORE_POINT_NAME: usize = 64;
/// Opcode of a commit.
const COMMIT: u8 = 0x00;
/// A commit record says what it has besides its time.
const HAS_INFO: u8 = 0x80;
/// A commit record names files to remove.
const HAS_RELFILENODES: u32 = 0x004;

/// The main data's sub-header, up to 255 bytes.
const MAIN_DATA_SHORT: u8 = 255;
/// The main data's sub-header, for more.
const MAIN_DATA_LONG: u8 = 254;

/// Now, as records tell the time.
pub fn now() -> RecordTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    RecordTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Empties `out` and begins a record in it with its header.
pub fn begin(out: &mut Vec<u8>, manager: ResourceManager, info: u8, xid: Xid) {
    out.clear();
    let header =
        RecordHeader { total_length: 0, xid, prev: Lsn::INVALID, info, resource_manager: manager, crc: 0 };
    out.extend_from_slice(&header.encode());
}

/// Appends the sub-header of `length` bytes of main data, the last of a record's sub-headers. Nothing for none.
pub fn push_main_data_header(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(0) => {}
        Ok(short) => out.extend_from_slice(&[MAIN_DATA_SHORT, short]),
        Err(_) => {
            out.push(MAIN_DATA_LONG);
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
    }
}

/// Encodes a record without blocks into `out`.
pub fn encode(out: &mut Vec<u8>, manager: ResourceManager, info: u8, xid: Xid, main_data: &[u8]) {
    begin(out, manager, info, xid);
    push_main_data_header(out, main_data.len());
    out.extend_from_slice(main_data);
}

/// Encodes the commit of `xid`, which drops `dropped` trees.
pub fn encode_commit(out: &mut Vec<u8>, xid: Xid, time: RecordTime, dropped: &[TreeId]) {
    if dropped.is_empty() {
        return encode(out, ResourceManager::TRANSACTION, COMMIT, xid, &time.as_micros().to_le_bytes());
    }
    begin(out, ResourceManager::TRANSACTION, COMMIT | HAS_INFO, xid);
    push_main_data_header(out, 8 + 4 + 4 + dropped.len() * 12);
    out.extend_from_slice(&time.as_micros().to_le_bytes());
    out.extend_from_slice(&HAS_RELFILENODES.to_le_bytes());
    out.extend_from_slice(&(dropped.len() as u32).to_le_bytes());
    for tree in dropped {
        let RelFileLocator { tablespace, database, relation } = tree.locator();
        for number in [tablespace, database, relation] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Encodes a record of the log itself.
pub fn encode_xlog(out: &mut Vec<u8>, record: &XlogRecord) {
    let (info, data) = record.encode(wal::WalVersion::V15);
    encode(out, ResourceManager::XLOG, info, Xid::INVALID, &data);
}

/// Encodes a restore point. A name longer than 63 bytes is cut.
pub fn encode_restore_point(out: &mut Vec<u8>, time: RecordTime, name: &str) {
    let mut data = [0; 8 + RESTORE_POINT_NAME];
    let (when, place) = data.split_at_mut(8);
    when.copy_from_slice(&time.as_micros().to_le_bytes());
    for (byte, &letter) in place.iter_mut().zip(name.as_bytes().iter().take(RESTORE_POINT_NAME - 1)) {
        *byte = letter;
    }
    encode(out, ResourceManager::XLOG, RESTORE_POINT, Xid::INVALID, &data);
}

/// Encodes a message for logical decoding, of transaction `xid` if that is one, otherwise of none.
pub fn encode_logical_message(out: &mut Vec<u8>, xid: Xid, prefix: &str, message: &[u8]) {
    begin(out, ResourceManager::LOGICAL_MESSAGE, 0, xid);
    let prefix_size = prefix.len() + 1;
    push_main_data_header(out, 24 + prefix_size + message.len());
    out.extend_from_slice(&TreeId::DATABASE.to_le_bytes());
    out.extend_from_slice(&[u8::from(xid != Xid::INVALID), 0, 0, 0]);
    out.extend_from_slice(&(prefix_size as u64).to_le_bytes());
    out.extend_from_slice(&(message.len() as u64).to_le_bytes());
    out.extend_from_slice(prefix.as_bytes());
    out.push(0);
    out.extend_from_slice(message);
}
