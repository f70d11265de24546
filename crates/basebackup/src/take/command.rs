//! The BASE_BACKUP command.

use super::options::{Destination, Options, WalMethod};

/// What the server is asked, in the words of PostgreSQL 15 and later.
pub(super) fn base_backup(options: &Options) -> String {
    let mut parts = vec![format!("LABEL {}", quote(&options.label))];
    if options.estimate_size {
        parts.push("PROGRESS".to_owned());
    }
    if options.wal == WalMethod::Fetch {
        parts.push("WAL".to_owned());
    }
    if options.fast_checkpoint {
        parts.push("CHECKPOINT 'fast'".to_owned());
    }
    // Whoever streams or fetches the WAL does not depend on its being archived.
    if options.wal != WalMethod::None {
        parts.push("WAIT 0".to_owned());
    }
    if let Some(rate) = options.max_rate {
        parts.push(format!("MAX_RATE {rate}"));
    }
    if options.wants_tablespace_map() {
        parts.push("TABLESPACE_MAP".to_owned());
    }
    if !options.verify_checksums {
        parts.push("VERIFY_CHECKSUMS 0".to_owned());
    }
    if let Some(manifest) = options.manifest {
        parts.push(format!("MANIFEST '{}'", if manifest.force_encode { "force-encode" } else { "yes" }));
        match manifest.checksums {
            Some(algorithm) => parts.push(format!("MANIFEST_CHECKSUMS '{algorithm}'")),
            None => parts.push("MANIFEST_CHECKSUMS 'NONE'".to_owned()),
        }
    }
    match &options.destination {
        Destination::Target { name, detail } => {
            parts.push(format!("TARGET {}", quote(name)));
            if let Some(detail) = detail {
                parts.push(format!("TARGET_DETAIL {}", quote(detail)));
            }
        }
        Destination::Directory(_) | Destination::Stdout => parts.push("TARGET 'client'".to_owned()),
    }
    if let Some(compression) = options.server_compression() {
        parts.push(format!("COMPRESSION '{}'", compression.method.name()));
        if let Some(detail) = &compression.detail {
            parts.push(format!("COMPRESSION_DETAIL {}", quote(detail)));
        }
    }
    format!("BASE_BACKUP ({})", parts.join(", "))
}

/// A string of the replication grammar, in which only quotes are doubled.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
