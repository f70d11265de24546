//! Writes a command so that [`parse`](super::parse) reads the same command, in the forms that PostgreSQL's own
//! tools use.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{OptionValue, ReplicationCommand, ReplicationOption, SlotKind};

impl Display for ReplicationCommand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentifySystem => f.write_str("IDENTIFY_SYSTEM"),
            Self::UploadManifest => f.write_str("UPLOAD_MANIFEST"),
            Self::Show(name) => {
                f.write_str("SHOW ")?;
                for (index, part) in name.split('.').enumerate() {
                    let separator = if index == 0 { "" } else { "." };
                    write!(f, "{separator}{}", OptionName(part))?;
                }
                Ok(())
            }
            Self::TimelineHistory(timeline) => write!(f, "TIMELINE_HISTORY {timeline}"),
            Self::CreateReplicationSlot { name, temporary, kind, options } => {
                write!(f, "CREATE_REPLICATION_SLOT {}", Identifier(name))?;
                f.write_str(if *temporary { " TEMPORARY" } else { "" })?;
                match kind {
                    SlotKind::Physical => f.write_str(" PHYSICAL")?,
                    SlotKind::Logical(plugin) => write!(f, " LOGICAL {}", Identifier(plugin))?,
                }
                write!(f, "{}", Options(options))
            }
            Self::ReadReplicationSlot(name) => write!(f, "READ_REPLICATION_SLOT {}", Identifier(name)),
            Self::DropReplicationSlot { name, wait } => {
                write!(f, "DROP_REPLICATION_SLOT {}", Identifier(name))?;
                f.write_str(if *wait { " WAIT" } else { "" })
            }
            Self::AlterReplicationSlot { name, options } => {
                write!(f, "ALTER_REPLICATION_SLOT {}{}", Identifier(name), Options(options))
            }
            Self::StartPhysical { slot, start, timeline } => {
                f.write_str("START_REPLICATION")?;
                if let Some(slot) = slot {
                    write!(f, " SLOT {}", Identifier(slot))?;
                }
                write!(f, " {start}")?;
                match timeline {
                    Some(timeline) => write!(f, " TIMELINE {timeline}"),
                    None => Ok(()),
                }
            }
            Self::StartLogical { slot, start, options } => {
                write!(f, "START_REPLICATION SLOT {} LOGICAL {start}", Identifier(slot))?;
                for (index, (name, value)) in options.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { " (" } else { ", " }, Identifier(name))?;
                    if let Some(value) = value {
                        write!(f, " {}", Quoted(value, '\''))?;
                    }
                }
                f.write_str(if options.is_empty() { "" } else { ")" })
            }
            Self::BaseBackup { options } => write!(f, "BASE_BACKUP{}", Options(options)),
        }
    }
}

/// Options in parentheses with a blank before them; nothing if there are none.
struct Options<'a>(&'a [ReplicationOption]);

impl Display for Options<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, option) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { " (" } else { ", " }, OptionName(&option.name))?;
            match &option.value {
                None => {}
                Some(OptionValue::Text(text)) => write!(f, " {}", Quoted(text, '\''))?,
                Some(OptionValue::Integer(number)) => write!(f, " {number}")?,
            }
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}

/// An option's or variable's name: bare where folding to lower case gives it back. Keywords are upper case only,
/// so no bare name can be one.
struct OptionName<'a>(&'a str);

impl Display for OptionName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let plain = self.0.bytes().all(letter) && !self.0.is_empty();
        if plain { f.write_str(self.0) } else { Identifier(self.0).fmt(f) }
    }
}

/// An identifier, always quoted: slot and plugin names.
struct Identifier<'a>(&'a str);

impl Display for Identifier<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Quoted(self.0, '"').fmt(f)
    }
}

/// A text between quotes, in which a quote is doubled.
struct Quoted<'a>(&'a str, char);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char(self.1)?;
        for c in self.0.chars() {
            if c == self.1 {
                f.write_char(c)?;
            }
            f.write_char(c)?;
        }
        f.write_char(self.1)
    }
}
