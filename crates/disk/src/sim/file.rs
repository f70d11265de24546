//! An open file of the simulated disk.

use std::io;

use runtime::sync::MutexGuard;
use rustix::io::Errno;

use super::tree::{InodeId, Op};
use super::{SimDisk, State};
use crate::DiskFile;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: InodeId,
    pub(super) writable: bool,
}

impl SimFile {
    fn writing(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable { Ok(self.disk.state()) } else { Err(Errno::BADF.into()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let content = state.live.content(self.inode)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf.split_at_mut(count).0.copy_from_slice(rest.split_at(count).0);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.writing()?;
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        if state.faults.unwritable.contains(&self.inode) {
            return Err(Errno::IO.into());
        }
        let reached = state.take_space(self.inode, offset, end);
        let fits = bytes.split_at(reached.saturating_sub(offset).min(bytes.len() as u64) as usize).0;
        if !fits.is_empty() {
            state.perform(Op::Write { inode: self.inode, offset, bytes: fits.into() });
        }
        if fits.len() < bytes.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().live.content(self.inode)?.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.writing()?;
        state.give_back(self.inode, len);
        state.perform(Op::SetLen { inode: self.inode, len });
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.writing()?;
        let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
        if state.take_space(self.inode, 0, end) < end {
            return Err(Errno::NOSPC.into());
        }
        state.perform(Op::Allocate { inode: self.inode, end });
        Ok(())
    }

    fn claim(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.writing()?;
        let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
        if state.take_space(self.inode, 0, end) < end {
            return Err(Errno::NOSPC.into());
        }
        state.perform(Op::Claim { inode: self.inode, end });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
