//! Makes a data directory, for looking at it with PostgreSQL's tools.
//!
//! `cargo run -p engine --example create_data_directory -- DIRECTORY`

use std::path::PathBuf;
use std::sync::Arc;

use disk::{Disk, OsDisk};
use engine::layout::{InitOptions, create};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("a directory is needed")?);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    println!("{}", create(&disk, &dir, &InitOptions::default())?);
    Ok(())
}
