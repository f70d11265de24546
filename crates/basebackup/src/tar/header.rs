//! One member's header.
//!
//! | offset | length | field | PostgreSQL writes |
//! |---|---|---|---|
//! | 0 | 100 | name | path, directories with a `/` at the end |
//! | 100 | 8 | mode | octal |
//! | 108, 116 | 8, 8 | owner, group | octal |
//! | 124 | 12 | size | octal, base-256 from 8 GiB |
//! | 136 | 12 | modification time | octal |
//! | 148 | 8 | checksum: sum of all bytes, this field read as blanks | octal |
//! | 156 | 1 | type | `0` file, `2` symbolic link, `5` directory |
//! | 157 | 100 | link target | |
//! | 257 | 8 | magic and version | `ustar\0` `00` |
//! | 265, 297 | 32, 32 | owner's and group's name | `postgres` |
//! | 329, 337 | 8, 8 | device numbers | 0 |
//! | 345 | 155 | prefix | empty |

use std::ops::Range;

use super::number::{number, octal, put_number};
use crate::{InvalidPath, RelativePath};

/// The unit of an archive, and the size of a header, in bytes.
pub const BLOCK_SIZE: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const VERSION: Range<usize> = 263..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const PREFIX: Range<usize> = 345..500;

/// A member's header, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Where the member goes, below the archive's root.
    pub path: RelativePath,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// The length of the member's contents in bytes; 0 but for files.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: u64,
}

/// What a member is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target, whatever that is.
    Symlink(Vec<u8>),
}

/// Numeric owner and group, written into headers of members that this side adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why 512 bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The sum of the bytes is not the one written.
    #[error("tar header checksum is wrong")]
    Checksum,
    /// Not a ustar header.
    #[error("not a ustar header")]
    Magic,
    /// A number that is not octal, nor base-256 where that is allowed.
    #[error("invalid number in tar header field \"{0}\"")]
    Number(&'static str),
    /// A device, a hard link, an extension.
    #[error("file \"{path}\" is of unsupported type '{}' in the archive", kind.escape_ascii())]
    Kind {
        /// The member.
        path: RelativePath,
        /// Its type byte.
        kind: u8,
    },
    /// A path that leads out of the archive.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// A directory or a link that claims to have contents.
    #[error("member \"{0}\" should not have contents")]
    Contents(RelativePath),
    /// A name that a ustar header has no room for.
    #[error("file name too long for tar format: \"{0}\"")]
    NameTooLong(RelativePath),
}

impl Header {
    /// Takes a header apart.
    pub fn decode(block: &[u8; BLOCK_SIZE]) -> Result<Self, HeaderError> {
        if octal(&block[CHECKSUM]) != Some(u64::from(checksum(block))) {
            return Err(HeaderError::Checksum);
        }
        if &block[MAGIC] != b"ustar\0" {
            return Err(HeaderError::Magic);
        }
        let number = |range: Range<usize>, name| number(&block[range]).ok_or(HeaderError::Number(name));
        let size = number(SIZE, "size")?;
        let modified = number(MTIME, "mtime")?;
        let mode = number(MODE, "mode")? as u32 & 0o7777;
        let (path, slash) = member_path(block)?;
        let kind = match block[KIND] {
            b'0' | 0 if !slash => MemberKind::File,
            b'5' => MemberKind::Directory,
            b'2' => MemberKind::Symlink(until_zero(&block[LINK]).to_vec()),
            kind => return Err(HeaderError::Kind { path, kind }),
        };
        if size != 0 && kind != MemberKind::File {
            return Err(HeaderError::Contents(path));
        }
        Ok(Self { path, kind, mode, size, modified })
    }

    /// The header's bytes, as PostgreSQL's `tarCreateHeader` writes them.
    pub fn encode(&self, owner: Owner) -> Result<[u8; BLOCK_SIZE], HeaderError> {
        let mut block = [0; BLOCK_SIZE];
        let mut name = self.path.as_bytes().to_vec();
        if self.kind == MemberKind::Directory {
            name.push(b'/');
        }
        put(&mut block[NAME.start..NAME.end - 1], &name)
            .ok_or_else(|| HeaderError::NameTooLong(self.path.clone()))?;
        put_number(&mut block[MODE], self.mode.into());
        put_number(&mut block[UID], owner.uid.into());
        put_number(&mut block[GID], owner.gid.into());
        put_number(&mut block[SIZE], self.size);
        put_number(&mut block[MTIME], self.modified);
        block[KIND] = match &self.kind {
            MemberKind::File => b'0',
            MemberKind::Directory => b'5',
            MemberKind::Symlink(target) => {
                put(&mut block[LINK.start..LINK.end - 1], target)
                    .ok_or_else(|| HeaderError::NameTooLong(self.path.clone()))?;
                b'2'
            }
        };
        block[MAGIC].copy_from_slice(b"ustar\0");
        block[VERSION].copy_from_slice(b"00");
        put(&mut block[USER], b"postgres");
        put(&mut block[GROUP], b"postgres");
        put_number(&mut block[329..337], 0);
        put_number(&mut block[337..345], 0);
        let sum = checksum(&block);
        put_number(&mut block[CHECKSUM], sum.into());
        Ok(block)
    }

    /// The same header with another `size`, every other byte of `block` kept.
    pub fn resize(block: &[u8; BLOCK_SIZE], size: u64) -> [u8; BLOCK_SIZE] {
        let mut resized = *block;
        put_number(&mut resized[SIZE], size);
        let sum = checksum(&resized);
        put_number(&mut resized[CHECKSUM], sum.into());
        resized
    }
}

/// Name and prefix joined, and whether the name ended in a slash.
fn member_path(block: &[u8; BLOCK_SIZE]) -> Result<(RelativePath, bool), InvalidPath> {
    let prefix = until_zero(&block[PREFIX]);
    let mut name = prefix.to_vec();
    if !prefix.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(until_zero(&block[NAME]));
    let slash = name.len() > 1 && name.ends_with(b"/");
    if slash {
        name.pop();
    }
    // The server puts this before the directories it sends empty; it means nothing.
    Ok((RelativePath::new(name.strip_prefix(b"./").unwrap_or(&name))?, slash))
}

fn checksum(block: &[u8; BLOCK_SIZE]) -> u32 {
    let all: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let field: u32 = block[CHECKSUM].iter().map(|byte| u32::from(*byte)).sum();
    all - field + CHECKSUM.len() as u32 * u32::from(b' ')
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field.get(..end).unwrap_or(field)
}

/// Copies `bytes` to the start of `field`; `None` if they do not fit.
fn put(field: &mut [u8], bytes: &[u8]) -> Option<()> {
    field.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests;
