//! Full-page images.

use wal::record::{BlockImage, ImageCompression};

use super::diff::hole;
use crate::page::{PAGE_SIZE, Page};

const HAS_HOLE: u8 = 0x01;
const APPLY: u8 = 0x02;

/// Appends the sub-header of the image of `page` to `headers` and its bytes to `data`: without the hole, and compressed
/// if that makes it shorter. Source: `XLogRecordBlockImageHeader` in `access/xlogrecord.h`.
pub(super) fn push_image(
    page: &Page,
    compression: Option<ImageCompression>,
    headers: &mut Vec<u8>,
    data: &mut Vec<u8>,
) {
    let hole = hole(page);
    if let Some(method) = compression
        && let Ok(image) = BlockImage::of_page(page.bytes(), hole.start as u16..hole.end as u16)
        && let image = image.compressed(method)
        && image.compression.is_some()
    {
        let flag = match method {
            ImageCompression::Pglz => 0x04,
            ImageCompression::Lz4 => 0x08,
            ImageCompression::Zstd => 0x10,
        };
        push_header(headers, image.stored.len(), image.hole_offset, image.hole_length, flag);
        if image.hole_length > 0 {
            headers.extend_from_slice(&image.hole_length.to_le_bytes());
        }
        data.extend_from_slice(&image.stored);
        return;
    }
    let offset = if hole.is_empty() { 0 } else { hole.start as u16 };
    push_header(headers, PAGE_SIZE - hole.len(), offset, hole.len() as u16, 0);
    let (before, after) = (page.bytes().get(..hole.start), page.bytes().get(hole.end..));
    data.extend_from_slice(before.unwrap_or_default());
    data.extend_from_slice(after.unwrap_or_default());
}

fn push_header(headers: &mut Vec<u8>, stored: usize, hole_offset: u16, hole_length: u16, method: u8) {
    let whole = stored + usize::from(hole_length);
    assert!(whole <= PAGE_SIZE, "an image and its hole are a page at most, and not {whole} bytes");
    let hole = if hole_length > 0 { HAS_HOLE } else { 0 };
    headers.extend_from_slice(&(stored as u16).to_le_bytes());
    headers.extend_from_slice(&hole_offset.to_le_bytes());
    headers.push(APPLY | hole | method);
}
