//! `walwriter init`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use disk::{Disk, OsDisk};
use engine::layout::{InitOptions, create};
use wal::SegmentSize;
use walwriter::config::{AUTO_FILE, Config, MAIN_FILE, Origin, SAMPLE};

use super::options::Init;

pub(crate) fn run(options: &Init) -> anyhow::Result<ExitCode> {
    let megabytes = options.wal_segsize;
    let Ok(segment_size) = SegmentSize::new(u64::from(megabytes) << 20) else {
        bail!("invalid WAL segment size of {megabytes} MB: it must be a power of two from 1 to 1024");
    };
    let files = vec![
        (MAIN_FILE.into(), configuration(&options.settings)?.into_bytes()),
        (AUTO_FILE.into(), b"# Settings that programs make, read after postgresql.conf.\n".to_vec()),
    ];
    let directory = &options.data.directory;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let system_id = create(&disk, directory, &InitOptions { segment_size, files })?;
    // The engine leaves permissions to whoever knows that this is a real file system.
    restrict(directory)?;
    println!("data directory \"{}\" is ready (system identifier {system_id})", directory.display());
    println!("serve it with: walwriter serve -D {}", directory.display());
    Ok(ExitCode::SUCCESS)
}

/// The sample with settings added, which must be ones that the server will accept.
fn configuration(settings: &[String]) -> anyhow::Result<String> {
    let mut text = SAMPLE.to_owned();
    let mut config = Config::default();
    for assignment in settings {
        let (name, value) = assignment
            .split_once('=')
            .with_context(|| format!("-c \"{assignment}\": expected name=value"))?;
        config.set(name.trim(), value.trim(), Origin::CommandLine)?;
        let value = value.trim().replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!("{} = '{value}'\n", name.trim()));
    }
    Ok(text)
}

/// Nobody else may look into a data directory.
fn restrict(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("could not change permissions of directory \"{}\"", directory.display()))
}
