//! A leader, or whoever sits between, that sends what is not its WAL: nothing of it is kept, nothing is acknowledged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wal::{Lsn, SegmentSize};
use walship_tests::proxy::{Message, Proxy, Verdict};
use walship_tests::receiver::{assert_holds, pg_receivewal, read_wal, records_in, walreceiver};
use walship_tests::{Options, Postgres, Random, TempRoot, Version, archive, lsns_in, wait_for, wait_until};

/// A leader that writes no more, what pg_receivewal makes of its WAL, and where its records are.
struct Quiet {
    root: TempRoot,
    leader: Postgres,
    stock: PathBuf,
    /// The start of the first segment that a slot made at the beginning leads to, and the end of the last.
    from: Lsn,
    to: Lsn,
    /// Where each record starts, ascending.
    records: Vec<Lsn>,
}

const SLOTS: usize = 24;

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

fn quiet_leader(name: &str) -> Quiet {
    let root = TempRoot::new(name);
    // Checkpoints and the like come seldom enough not to come at all.
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let options = options.setting("max_replication_slots", "30");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.sql(&format!(
        "select pg_create_physical_replication_slot('s' || n, true) from generate_series(0, {SLOTS}) n"
    ));
    let from = segment_size().floor(leader.flush_lsn());
    leader.script(
        "create table t as select n, md5(n::text) as text from generate_series(1, 20000) n;
         create index on t (text); checkpoint; update t set n = -n where n % 3 = 0;
         select pg_logical_emit_message(false, 'long', repeat('m', 300000));",
    );
    let to = segment_size().end_of(segment_size().segment_of(leader.switch_wal()));
    let stock = root.dir("stock");
    let receiver = pg_receivewal(&root, Version::V15, &leader.conninfo(), &stock).args(["-S", "s0"]).spawn();
    let last = segment_size().segment_ending_at(to).file_name(wal::TimelineId::FIRST, segment_size());
    wait_until("the last segment", || stock.join(&last).exists());
    receiver.interrupt().success();
    let records: Vec<_> = records_in(&root, &stock, None).iter().map(|record| record.start).collect();
    assert!(records.len() > 1000, "{} records", records.len());
    Quiet { root, leader, stock, from, to, records }
}

/// How much a server sends at once, from a segment's start on (`MAX_SEND_SIZE`).
const MESSAGE: u64 = 128 << 10;

impl Quiet {
    fn wal(&self, from: Lsn, to: Lsn) -> Vec<u8> {
        read_wal(&self.stock, 1, segment_size(), from, to).unwrap()
    }

    /// The start of the record that the byte at `lsn` belongs to, or that it follows.
    fn record_of(&self, lsn: Lsn) -> Lsn {
        let next = self.records.partition_point(|&record| record <= lsn);
        next.checked_sub(1).map_or(self.from, |index| self.records[index])
    }

    /// Runs a receiver through a proxy that sends forged WAL once; it has to name an LSN from the forged record on and
    /// up to `upto`, to fail, and to keep and acknowledge nothing that is not the leader's. Then it goes on straight
    /// from the leader and ends up with what pg_receivewal has. `case` is a number below [`SLOTS`].
    fn assert_refused(
        &self,
        case: usize,
        what: &str,
        forged: std::ops::RangeInclusive<Lsn>,
        tamper: impl FnMut(&Message) -> Verdict + Send + 'static,
    ) {
        println!("{what} at {} (slot s{})", forged.start(), case + 1);
        let (slot, directory) = (format!("s{}", case + 1), self.root.dir(format!("archive-{case}")));
        let proxy = Proxy::start(self.leader.port(), tamper);
        let receiver = walreceiver(&self.root, &proxy.conninfo(), &directory);
        let failed = receiver.args(["-n", "--synchronous", "-S", &slot]).run();
        let line = failed.failure("");
        let record = self.record_of(*forged.start());
        println!("{line}");
        let named = lsns_in(&line);
        assert!(
            named.iter().any(|lsn| (record..=*forged.end()).contains(lsn)),
            "{what}: no LSN from {record} to {} is named: {line}",
            forged.end()
        );
        self.assert_nothing_bad_kept(&directory, what);
        let acknowledged = proxy.flushed();
        assert!(acknowledged <= *forged.start(), "{what} at {}: {acknowledged} acknowledged", forged.start());
        if acknowledged.is_valid() {
            assert_holds(&directory, &self.stock, 1, segment_size(), (self.from, acknowledged));
        }
        drop(proxy);
        self.assert_goes_on(&slot, &directory);
    }

    /// Every byte in the directory's files is the leader's, or was never written.
    fn assert_nothing_bad_kept(&self, directory: &Path, what: &str) {
        for name in archive::wal_files(directory) {
            let ours = std::fs::read(directory.join(&name)).unwrap();
            let theirs = std::fs::read(self.stock.join(name.trim_end_matches(".partial"))).unwrap();
            let bad = ours.iter().zip(&theirs).position(|(&our, &their)| our != their && our != 0);
            assert_eq!(bad, None, "{what}: {name} has bytes of its own");
        }
    }

    /// Straight from the leader the archive becomes what it ought to be.
    fn assert_goes_on(&self, slot: &str, directory: &Path) {
        let receiver = walreceiver(&self.root, &self.leader.conninfo(), directory);
        let receiver = receiver.args(["-S", slot]).spawn();
        wait_until("everything to be received", || {
            archive::segments(directory) == archive::segments(&self.stock)
        });
        receiver.interrupt().success();
        archive::assert_identical(directory, &self.stock);
    }
}

/// Forges the one message that has the byte at `target` in it.
fn forge(
    target: Lsn,
    forge: impl Fn(&Message, Lsn, &[u8], usize) -> Verdict + Send + 'static,
) -> impl FnMut(&Message) -> Verdict + Send + 'static {
    move |message| match message.as_wal() {
        Some((start, wal)) if start <= target && target < start.saturating_add(wal.len() as u64) => {
            forge(message, start, wal, target.bytes_since(start) as usize)
        }
        _ => Verdict::Pass,
    }
}

/// Sends the message on with its WAL changed from the target on.
fn rewrite(
    target: Lsn,
    change: impl Fn(&mut [u8]) + Send + 'static,
) -> impl FnMut(&Message) -> Verdict + Send + 'static {
    forge(target, move |message, start, wal, at| {
        let mut forged = wal.to_vec();
        change(&mut forged[at..]);
        Verdict::Replace(message.with_wal(start, &forged).encode())
    })
}

#[test]
fn one_flipped_bit_anywhere_is_refused_at_its_record() {
    let quiet = quiet_leader("flipped-on-the-way");
    let mut random = Random::new();
    let middle = |part: u64| quiet.records[quiet.records.len() * part as usize / 10];
    // Of headers each field; of a page and of a segment their headers.
    let mut targets: Vec<(&str, Lsn)> = [
        ("length", 1),
        ("transaction", 5),
        ("previous record", 9),
        ("info", 16),
        ("resource manager", 17),
        ("header padding", 18),
        ("CRC", 21),
        ("body", 24),
    ]
    .iter()
    .enumerate()
    .map(|(index, &(field, offset))| (field, middle(index as u64 + 1).saturating_add(offset)))
    .collect();
    let page = Lsn::new(middle(3).as_u64() & !8191).saturating_add(8192);
    let segment = segment_size().end_of(segment_size().segment_of(middle(4)));
    for (field, lsn, offset) in [
        ("page magic", page, 0),
        ("page timeline", page, 4),
        ("page address", page, 11),
        ("continued length", page, 16),
        ("segment's system", segment, 25),
        ("segment size", segment, 33),
        ("block size", segment, 37),
    ] {
        targets.push((field, lsn.saturating_add(offset)));
    }
    for _ in 0..6 {
        let record = quiet.records[random.below(quiet.records.len() as u64 * 9 / 10) as usize];
        targets.push(("somewhere", record.saturating_add(random.below(24))));
    }
    for (case, (field, target)) in targets.into_iter().enumerate() {
        let bit = 1 << random.below(8);
        let what = format!("{field}, bits {bit:#04x}");
        quiet.assert_refused(case, &what, target..=target, rewrite(target, move |wal| wal[0] ^= bit));
    }
}

#[test]
fn wal_that_is_cut_swapped_repeated_or_made_up_is_refused() {
    let quiet = quiet_leader("forged-on-the-way");
    let middle = |part: usize| quiet.records[quiet.records.len() * part / 10];
    let page_of = |lsn: Lsn| Lsn::new(lsn.as_u64() & !8191);
    let exactly = |lsn: Lsn| lsn..=lsn;

    let target = middle(2);
    quiet.assert_refused(0, "zeros for a record", exactly(target), rewrite(target, |wal| wal.fill(0)));
    let target = middle(3);
    quiet.assert_refused(1, "a record too short", exactly(target), rewrite(target, |wal| wal[0] = 23));
    let target = middle(4);
    let endless = rewrite(target, |wal| wal[..4].copy_from_slice(&0x3FFF_FFFF_u32.to_le_bytes()));
    quiet.assert_refused(2, "an endless record", exactly(target), endless);

    // The tail of a message is missing, and the next comes where the server thinks it has got to.
    let target = middle(5);
    let cut = forge(target, |message, start, wal, at| {
        Verdict::Replace(message.with_wal(start, &wal[..at]).encode())
    });
    quiet.assert_refused(3, "a gap", target..=quiet.to, cut);

    // Two pages have changed places.
    let target = page_of(middle(6)).saturating_add(8192);
    let swapped = forge(target, |message, start, wal, at| {
        let mut forged = wal.to_vec();
        if let Some(two) = forged.get_mut(at..at + 16384) {
            two.rotate_left(8192);
        } else {
            forged.truncate(at);
        }
        Verdict::Replace(message.with_wal(start, &forged).encode())
    });
    quiet.assert_refused(4, "swapped pages", target..=quiet.to, swapped);

    let target = middle(7);
    let repeated = forge(target, |message, _, _, _| {
        let twice = [message.encode(), message.encode()].concat();
        Verdict::Replace(twice)
    });
    // The first of the two is the leader's.
    let message_end = Lsn::new(target.as_u64().next_multiple_of(MESSAGE)).min(quiet.to);
    quiet.assert_refused(5, "a message that comes twice", message_end..=quiet.to, repeated);

    // A whole segment in the place of another.
    let segment = segment_size().end_of(segment_size().segment_of(middle(2)));
    let other = quiet.wal(quiet.from, segment_size().end_of(segment_size().segment_of(quiet.from)));
    let exchanged = move |message: &Message| match message.as_wal() {
        Some((start, wal)) if start.saturating_add(wal.len() as u64) > segment => {
            let wal: Vec<u8> = (start.as_u64()..start.as_u64() + wal.len() as u64)
                .zip(wal)
                .map(|(lsn, &byte)| match lsn.checked_sub(segment.as_u64()) {
                    Some(offset) => other[offset as usize % other.len()],
                    None => byte,
                })
                .collect();
            Verdict::Replace(message.with_wal(start, &wal).encode())
        }
        _ => Verdict::Pass,
    };
    quiet.assert_refused(6, "an exchanged segment", exactly(segment), exchanged);

    // WAL of another system, from a position that is right.
    let target = segment;
    let foreign = rewrite(target, |wal| wal[24..32].copy_from_slice(&7_u64.to_le_bytes()));
    quiet.assert_refused(7, "another system's WAL", target..=target.saturating_add(24), foreign);

    // Parts that do not fit together, under a checksum that is right.
    let on_one_page = |two: &&[Lsn]| page_of(two[0]) == page_of(two[1]) && two[0].as_u64() % 8192 < 4096;
    let target = quiet.records[quiet.records.len() / 2..].windows(2).find(on_one_page).expect("a record")[0];
    let unfit = rewrite(target, |wal| {
        wal[24] = 33;
        let length = u32::from_le_bytes(wal[..4].try_into().unwrap()) as usize;
        let crc = wal::record::record_crc(&wal[..length]);
        wal[20..24].copy_from_slice(&crc.to_le_bytes());
    });
    quiet.assert_refused(9, "a record whose parts do not fit", exactly(target), unfit);

    // A position that is not the next one.
    let target = middle(8);
    let elsewhere = forge(target, |message, start, wal, _| {
        Verdict::Replace(message.with_wal(start.saturating_add(8192), wal).encode())
    });
    // What came before that message is the leader's.
    let message = Lsn::new(target.as_u64() / MESSAGE * MESSAGE);
    quiet.assert_refused(8, "a position further on", message..=quiet.to, elsewhere);
}

/// Runs a receiver through a proxy that breaks the protocol; it fails with one line, in bounded memory, and goes on
/// when the server is sane again.
fn assert_survives(
    quiet: &Quiet,
    case: usize,
    what: &str,
    tamper: impl FnMut(&Message) -> Verdict + Send + 'static,
) {
    println!("{what} (slot s{})", case + 1);
    let (slot, directory) = (format!("s{}", case + 1), quiet.root.dir(format!("archive-{case}")));
    let proxy = Proxy::start(quiet.leader.port(), tamper);
    let receiver = walreceiver(&quiet.root, &proxy.conninfo(), &directory);
    let mut receiver = receiver.args(["-n", "--synchronous", "-S", &slot]).spawn();
    let mut most = 0;
    wait_until(&format!("the end of a receiver that got {what}"), || {
        let running = receiver.is_running();
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", receiver.pid())) {
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = resident.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
            most = most.max(kib.unwrap_or(0));
        }
        !running
    });
    println!("{} ({most} KiB)", receiver.wait().failure(""));
    assert!(most < 128 << 10, "{what}: {most} KiB of memory");
    quiet.assert_nothing_bad_kept(&directory, what);
    if proxy.flushed().is_valid() {
        assert_holds(&directory, &quiet.stock, 1, segment_size(), (quiet.from, proxy.flushed()));
    }
    drop(proxy);
    quiet.assert_goes_on(&slot, &directory);
}

#[test]
fn a_server_that_breaks_the_protocol_ends_its_connection_only() {
    let quiet = quiet_leader("broken-protocol");
    let target = quiet.records[quiet.records.len() / 2];
    let instead = |bytes: Vec<u8>| forge(target, move |_, _, _, _| Verdict::ReplaceAndHang(bytes.clone()));
    let mut random = Random::new();
    let garbage: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
    assert_survives(&quiet, 0, "garbage", instead(garbage));
    let giant = [b"d\x7f\xff\xff\xff".as_slice(), &vec![b'w'; 1 << 20]].concat();
    assert_survives(&quiet, 1, "a giant length", instead(giant));
    assert_survives(&quiet, 2, "a negative length", instead(b"d\xff\xff\xff\xff".to_vec()));
    assert_survives(&quiet, 3, "a length below four", instead(b"d\x00\x00\x00\x03".to_vec()));
    let in_header = forge(target, |_, _, _, _| Verdict::ReplaceAndCut(b"d\x00".to_vec()));
    assert_survives(&quiet, 4, "a message cut in its header", in_header);
    let in_body =
        forge(target, |message, _, _, at| Verdict::ReplaceAndCut(message.encode()[..5 + 25 + at].to_vec()));
    assert_survives(&quiet, 5, "a message cut in its WAL", in_body);
    let unknown = Message { kind: b'd', body: b"?what".to_vec() };
    assert_survives(&quiet, 6, "an unknown streaming message", instead(unknown.encode()));
    let short = Message { kind: b'd', body: b"w\0\0\0".to_vec() };
    assert_survives(&quiet, 7, "WAL data without a header", instead(short.encode()));
    let keepalive = Message { kind: b'd', body: b"k\0\0\0".to_vec() };
    assert_survives(&quiet, 8, "half a keepalive", instead(keepalive.encode()));
    let misplaced = Message { kind: b'T', body: vec![0x7f; 40] };
    assert_survives(&quiet, 9, "a row description in the stream", instead(misplaced.encode()));
    let error = Message { kind: b'E', body: b"SFATAL\0Mno terminator".to_vec() };
    assert_survives(&quiet, 10, "an error without an end", instead(error.encode()));
}

#[test]
fn a_receiver_that_may_try_again_reconnects_after_forged_wal_and_ends_up_right() {
    let quiet = quiet_leader("once-forged");
    let target = quiet.records[quiet.records.len() / 2];
    let mut forgeries = 2;
    let mut flip = rewrite(target, |wal| wal[20] ^= 1);
    let proxy = Proxy::start(quiet.leader.port(), move |message| match flip(message) {
        Verdict::Replace(bytes) if forgeries > 0 => {
            forgeries -= 1;
            Verdict::Replace(bytes)
        }
        _ => Verdict::Pass,
    });
    let directory = quiet.root.dir("archive");
    let mut receiver =
        walreceiver(&quiet.root, &proxy.conninfo(), &directory).args(["-S", "s1", "--synchronous"]).spawn();
    receiver.wait_for_stderr("invalid WAL");
    wait_until("everything to be received", || {
        archive::segments(&directory) == archive::segments(&quiet.stock)
    });
    assert!(proxy.connections() >= 3, "{} connections", proxy.connections());
    // The acknowledgement is on its way once the last segment has its name; the next regular one comes after 10 s.
    wait_for("everything to be acknowledged", Duration::from_secs(8), || {
        (proxy.flushed() >= quiet.to && proxy.written() >= quiet.to).then_some(())
    });
    receiver.interrupt().success();
    archive::assert_identical(&directory, &quiet.stock);
}
