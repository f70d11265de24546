//! Writing a manifest, byte for byte as the server does.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::checksum::encode_hex;
use super::{FileEntry, Manifest};

impl Manifest {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{{ \"PostgreSQL-Backup-Manifest-Version\": {},\n", self.version());
        if let Some(system_id) = self.system_id {
            push(&mut out, format_args!("\"System-Identifier\": {system_id},\n"));
        }
        out.push_str("\"Files\": [");
        for (index, file) in self.files.iter().enumerate() {
            out.push_str(if index == 0 { "\n" } else { ",\n" });
            write_file(&mut out, file);
        }
        out.push_str("\n],\n\"WAL-Ranges\": [\n");
        for (index, range) in self.wal_ranges.iter().enumerate() {
            push(
                &mut out,
                format_args!(
                    "{}{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
                    if index == 0 { "" } else { ",\n" },
                    range.timeline,
                    range.start,
                    range.end
                ),
            );
        }
        out.push_str("\n],\n");
        let checksum = encode_hex(&Sha256::digest(out.as_bytes()));
        push(&mut out, format_args!("\"Manifest-Checksum\": \"{checksum}\"}}\n"));
        out.into_bytes()
    }
}

fn write_file(out: &mut String, file: &FileEntry) {
    match std::str::from_utf8(file.path.as_bytes()) {
        Ok(path) if !file.encoded => {
            out.push_str("{ \"Path\": ");
            write_json_string(out, path);
        }
        _ => {
            let digits = encode_hex(file.path.as_bytes());
            push(out, format_args!("{{ \"Encoded-Path\": \"{digits}\""));
        }
    }
    push(out, format_args!(", \"Size\": {}, \"Last-Modified\": ", file.size));
    write_json_string(out, &file.last_modified);
    if let Some(checksum) = &file.checksum {
        push(
            out,
            format_args!(
                ", \"Checksum-Algorithm\": \"{}\", \"Checksum\": \"{}\"",
                checksum.algorithm(),
                checksum.to_hex()
            ),
        );
    }
    out.push_str(" }");
}

/// Escapes as PostgreSQL's `escape_json` does.
fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => push(out, format_args!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends to a `String`, which cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
