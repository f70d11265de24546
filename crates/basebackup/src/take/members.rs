//! Taking an archive's members out of its bytes, checking them on the way.

use super::error::TakeError;
use super::inspection::Inspection;
use super::ledger::Ledger;
use crate::RelativePath;
use crate::manifest::Hasher;
use crate::tar::{Event, Header, MemberKind, Reader};

/// Somebody who takes members.
pub(super) trait MemberSink {
    /// A member begins; its header is also given as it was sent.
    fn begin(&mut self, header: &Header, block: &[u8; 512]) -> Result<(), TakeError>;
    /// Contents of the member.
    fn data(&mut self, bytes: &[u8]) -> Result<(), TakeError>;
    /// The member is complete.
    fn end(&mut self) -> Result<(), TakeError>;
}

/// A sink that wants nothing: the archive's bytes are written as they are.
pub(super) struct Discard;

impl MemberSink for Discard {
    fn begin(&mut self, _: &Header, _: &[u8; 512]) -> Result<(), TakeError> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), TakeError> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), TakeError> {
        Ok(())
    }
}

/// Takes an archive apart, looks at its members, gives them to a sink and enters its files in the ledger.
pub(super) struct Unpacker<'a> {
    archive: &'a str,
    /// Under which the archive's files are in the manifest.
    prefix: Option<&'a RelativePath>,
    reader: Reader,
    ledger: &'a mut Ledger,
    inspection: &'a mut Inspection,
    current: Option<Current>,
}

struct Current {
    path: RelativePath,
    size: u64,
    hasher: Option<Hasher>,
}

impl<'a> Unpacker<'a> {
    /// `prefix` for a tablespace's archive.
    pub(super) fn new(
        archive: &'a str,
        prefix: Option<&'a RelativePath>,
        ledger: &'a mut Ledger,
        inspection: &'a mut Inspection,
    ) -> Self {
        inspection.archive(prefix.is_none());
        Self { archive, prefix, reader: Reader::new(), ledger, inspection, current: None }
    }

    /// More of the archive.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn MemberSink) -> Result<(), TakeError> {
        loop {
            let event = self.reader.next(&mut bytes);
            let event =
                event.map_err(|source| TakeError::Archive { archive: self.archive.to_owned(), source })?;
            match event {
                None => return Ok(()),
                Some(Event::Begin(header)) => {
                    self.inspection.begin(&header)?;
                    sink.begin(&header, self.reader.block())?;
                    self.current = self.enter(header);
                }
                Some(Event::Data(data)) => {
                    if let Some(hasher) = self.current.as_mut().and_then(|current| current.hasher.as_mut()) {
                        hasher.update(data);
                    }
                    self.inspection.data(data);
                    sink.data(data)?;
                }
                Some(Event::End) => {
                    sink.end()?;
                    self.leave()?;
                }
            }
        }
    }

    /// The archive should be complete.
    pub(super) fn finish(self) -> Result<(), TakeError> {
        self.reader.finish().map_err(|source| TakeError::Archive { archive: self.archive.to_owned(), source })
    }

    fn enter(&self, header: Header) -> Option<Current> {
        if header.kind != MemberKind::File {
            return None;
        }
        let path = self.prefix.map_or_else(|| header.path.clone(), |prefix| header.path.prefixed(prefix));
        Some(Current { path, size: header.size, hasher: self.ledger.hasher() })
    }

    fn leave(&mut self) -> Result<(), TakeError> {
        let Some(Current { path, size, hasher }) = self.current.take() else { return Ok(()) };
        if self.ledger.record(path.clone(), size, hasher) {
            Ok(())
        } else {
            Err(TakeError::Refused(format!("file \"{path}\" was sent twice")))
        }
    }
}
