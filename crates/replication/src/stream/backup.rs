//! The messages inside the copy of BASE_BACKUP, PostgreSQL 15 and later. Source: basebackup_copy.c.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::PayloadError;

/// One CopyData body of a base backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackupMessage {
    /// `n`: the archive before this one is complete, and another begins.
    NewArchive {
        /// Its file name, such as `16387.tar` or `base.tar.gz`.
        name: String,
        /// The tablespace's directory on the server; empty for the main data directory.
        tablespace_path: String,
    },
    /// `d`: bytes of the current archive, or of the manifest.
    Data(Bytes),
    /// `m`: the archives are complete, and the manifest begins.
    Manifest,
    /// `p`: how many bytes the server has read so far, over all archives and before compression.
    Progress(u64),
}

impl BackupMessage {
    /// Reads one CopyData body; data is a slice of it.
    pub fn decode(mut body: Bytes) -> Result<Self, PayloadError> {
        let length = body.len();
        let kind = *body.first().ok_or(PayloadError::Empty)?;
        body.advance(1);
        match kind {
            b'd' => Ok(Self::Data(body)),
            b'n' => {
                let mut texts = body.split(|&byte| byte == 0);
                let (Some(name), Some(path), Some([]), None) =
                    (texts.next(), texts.next(), texts.next(), texts.next())
                else {
                    return Err(PayloadError::MalformedText(kind));
                };
                let text = |bytes: &[u8]| {
                    std::str::from_utf8(bytes)
                        .map(str::to_owned)
                        .map_err(|_| PayloadError::MalformedText(kind))
                };
                Ok(Self::NewArchive { name: text(name)?, tablespace_path: text(path)? })
            }
            b'm' if body.is_empty() => Ok(Self::Manifest),
            b'p' if body.len() == 8 => Ok(Self::Progress(body.get_u64())),
            b'm' | b'p' => Err(PayloadError::WrongLength { kind, length }),
            other => Err(PayloadError::UnknownType(other)),
        }
    }

    /// Appends the CopyData body.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::NewArchive { name, tablespace_path } => {
                out.put_u8(b'n');
                for text in [name, tablespace_path] {
                    out.extend(text.bytes().filter(|&byte| byte != 0));
                    out.put_u8(0);
                }
            }
            Self::Data(data) => {
                out.put_u8(b'd');
                out.extend_from_slice(data);
            }
            Self::Manifest => out.put_u8(b'm'),
            Self::Progress(bytes) => {
                out.put_u8(b'p');
                out.put_u64(*bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = BackupMessage> {
        prop_oneof![
            ("[a-z0-9.]{0,20}", "[a-z/]{0,20}")
                .prop_map(|(name, tablespace_path)| BackupMessage::NewArchive { name, tablespace_path }),
            prop::collection::vec(any::<u8>(), 0..100).prop_map(|data| BackupMessage::Data(data.into())),
            Just(BackupMessage::Manifest),
            any::<u64>().prop_map(BackupMessage::Progress),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in message()) {
            let mut body = BytesMut::new();
            message.encode(&mut body);
            prop_assert_eq!(BackupMessage::decode(body.freeze()), Ok(message));
        }

        #[test]
        fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = BackupMessage::decode(body.into());
        }
    }

    #[test]
    fn an_archive_needs_both_texts() {
        for body in [&b"n"[..], b"nbase.tar", b"nbase.tar\0", b"nbase.tar\0\0x", b"n\xff\0\0", b"m1", b"p1"] {
            assert!(BackupMessage::decode(Bytes::from_static(body)).is_err(), "{body:?}");
        }
    }
}
