//! What the machine can do at best, measured in the same minutes as the contenders.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::measure::{Sample, mb_per_s};

/// Writes `bytes` to a new file under `dir` in 1 MiB pieces with an fdatasync every 16 MiB.
pub fn sequential_write(dir: &Path, bytes: u64) -> Result<Sample> {
    let path = dir.join("limit-sequential");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let piece = vec![0x5Au8; 1 << 20];
    let started = Instant::now();
    for index in 0..bytes >> 20 {
        file.write_all_at(&piece, index << 20)?;
        if index % 16 == 15 {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let wall = started.elapsed();
    std::fs::remove_file(path)?;
    Ok(Sample { rate: mb_per_s(bytes, wall), cpu: None })
}

/// Streams `bytes` over loopback TCP in 128 KiB writes to a reader that throws them away.
pub fn loopback_stream(bytes: u64) -> Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let reader = thread::spawn(move || -> Result<()> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0u8; 256 << 10];
        while socket.read(&mut buffer)? > 0 {}
        Ok(())
    });
    let mut socket = TcpStream::connect(address)?;
    let piece = vec![0x5Au8; 128 << 10];
    let started = Instant::now();
    for _ in 0..bytes / piece.len() as u64 {
        socket.write_all(&piece)?;
    }
    drop(socket);
    reader.join().expect("the reader does not panic")?;
    Ok(Sample { rate: mb_per_s(bytes, started.elapsed()), cpu: None })
}

/// How many times a second an 8 KiB block of a preallocated file under `dir` can be overwritten and fdatasynced.
pub fn fdatasync(dir: &Path) -> Result<Sample> {
    let path = dir.join("limit-fdatasync");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = vec![0x5Au8; 8 << 10];
    for index in 0..128 {
        file.write_all_at(&block, index * block.len() as u64)?;
    }
    file.sync_all()?;
    let rounds = 2000;
    let started = Instant::now();
    for index in 0..rounds {
        file.write_all_at(&block, (index % 128) * block.len() as u64)?;
        file.sync_data()?;
    }
    let wall = started.elapsed();
    std::fs::remove_file(path)?;
    Ok(Sample { rate: rounds as f64 / wall.as_secs_f64(), cpu: None })
}
