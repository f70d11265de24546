//! Reading pages from their files, each by one thread while others wait for it.

use std::sync::atomic::Ordering;

use super::BufferPool;
use super::frame::Frame;
use super::shard::Shard;
use crate::page::SharedPage;
use crate::{EngineError, PageId};

/// Says that a page is being read, or made, until it is dropped.
pub(super) struct Loading<'a> {
    shard: &'a Shard,
    id: PageId,
}

impl BufferPool {
    /// Reads a page that has no frame and gives it one. `None` if another thread did so meanwhile.
    pub(super) fn load(&self, shard: &Shard, id: PageId) -> Result<Option<SharedPage>, EngineError> {
        let Some(loading) = Loading::begin(shard, id) else { return Ok(None) };
        self.make_room(shard);
        let page = self.read(id)?;
        shard.lock().insert(Frame::new(id, page.clone()));
        drop(loading);
        Ok(Some(page))
    }

    /// The page as its file has it, verified.
    pub(super) fn read(&self, id: PageId) -> Result<SharedPage, EngineError> {
        let mut page = self.spare.take();
        if let Some(buffer) = page.get_mut() {
            self.files.read_block(id, buffer)?;
        }
        page.verify(id)?;
        self.check_lsn(id, &page)?;
        self.read.fetch_add(1, Ordering::Relaxed);
        Ok(page)
    }
}

impl<'a> Loading<'a> {
    /// `None` if the page has a frame, at once or after another thread has read it. Until this is dropped no other thread
    /// gives it one.
    pub(super) fn begin(shard: &'a Shard, id: PageId) -> Option<Self> {
        let mut frames = shard.lock();
        loop {
            if frames.contains(id) {
                return None;
            }
            if !frames.is_loading(id) {
                frames.begin_loading(id);
                return Some(Self { shard, id });
            }
            frames = shard.wait(frames);
        }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut frames = self.shard.lock();
        frames.end_loading(self.id);
        self.shard.wake(frames);
    }
}
