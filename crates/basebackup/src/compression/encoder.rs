//! Compressing what is written.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

use super::{Method, Settings};

/// Compresses what is written to it into `W`.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Lz4(Box<FrameEncoder<W>>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// An encoder into `out`; without settings it only passes bytes on.
    ///
    /// LZ4 has one speed here, so its level changes nothing.
    pub fn new(settings: Option<Settings>, out: W) -> io::Result<Self> {
        let Some(settings) = settings else { return Ok(Self(Inner::Plain(out))) };
        let inner = match settings.method {
            Method::Gzip => {
                let level = settings.level.and_then(|level| u32::try_from(level).ok());
                let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
                Inner::Gzip(GzEncoder::new(out, level))
            }
            Method::Lz4 => {
                let info = FrameInfo::new().block_size(BlockSize::Max256KB);
                Inner::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
            Method::Zstd => {
                let mut encoder =
                    zstd::Encoder::new(out, settings.level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?;
                if settings.workers > 0 {
                    encoder.multithread(settings.workers)?;
                }
                encoder.long_distance_matching(settings.long)?;
                Inner::Zstd(encoder)
            }
        };
        Ok(Self(inner))
    }

    /// Writes what is still to be written, and the end of the format.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(out) => Ok(out),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Lz4(encoder) => encoder.finish().map_err(io::Error::from),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(out) => out.write(bytes),
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Lz4(encoder) => encoder.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain(out) => out.flush(),
            Inner::Gzip(encoder) => encoder.flush(),
            Inner::Lz4(encoder) => encoder.flush(),
            Inner::Zstd(encoder) => encoder.flush(),
        }
    }
}
