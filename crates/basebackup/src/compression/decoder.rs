//! Unpacking what was compressed.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::Method;

/// Unpacks what it reads from `R`. Several members or frames after one another are read as one.
///
/// Memory is bounded by the formats: 4 MiB blocks in LZ4, and windows of at most 128 MiB in Zstandard, whose larger
/// ones are refused.
pub struct Decoder<R: BufRead>(Inner<R>);

enum Inner<R: BufRead> {
    Gzip(Box<MultiGzDecoder<R>>),
    Lz4(Box<FrameDecoder<R>>),
    Zstd(zstd::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of what `input` holds.
    pub fn new(method: Method, input: R) -> io::Result<Self> {
        Ok(Self(match method {
            Method::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(input))),
            Method::Lz4 => Inner::Lz4(Box::new(FrameDecoder::new(input))),
            Method::Zstd => Inner::Zstd(zstd::Decoder::with_buffer(input)?),
        }))
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Lz4(decoder) => match decoder.read(buffer)? {
                // The end of a frame; another may follow.
                0 if !decoder.get_mut().fill_buf()?.is_empty() => decoder.read(buffer),
                length => Ok(length),
            },
            Inner::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
