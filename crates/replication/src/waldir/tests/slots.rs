//! Slots: durable, exclusive, and gone when dropped.

use std::time::{Duration, Instant};

use super::archive::{Archive, T1, T2};
use crate::waldir::{Slot, SlotError, SlotInfo, SlotName, Slots, WalClaim, WalDir};
use disk::{CrashChoices, SimDisk};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wal::{Lsn, SegmentSize, TimelineId};

fn name(text: &str) -> SlotName {
    SlotName::new(text).unwrap()
}

#[test]
fn slots_are_made_read_listed_used_by_one_and_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let slots = Slots::new(WalDir::on_os(temp.path()));
    assert!(slots.list().unwrap().is_empty());
    assert!(matches!(slots.acquire(&name("a")), Err(SlotError::Missing(_))));
    let slot = slots.create(&name("a"), SlotInfo::default()).unwrap();
    assert_eq!(slots.read(&name("a")).unwrap(), Some(SlotInfo::default()));
    assert!(slots.is_active(&name("a")).unwrap());
    assert!(matches!(slots.acquire(&name("a")), Err(SlotError::Active(_))));
    assert!(matches!(slots.drop(&name("a")), Err(SlotError::Active(_))));
    drop(slot);
    assert!(!slots.is_active(&name("a")).unwrap());
    assert!(matches!(slots.create(&name("a"), SlotInfo::default()), Err(SlotError::Exists(_))));
    slots.create(&name("b"), SlotInfo::at(Lsn::new(8), T2)).unwrap();
    assert_eq!(slots.list().unwrap(), [name("a"), name("b")]);
    assert_eq!(slots.acquire(&name("b")).unwrap().info(), SlotInfo::at(Lsn::new(8), T2));
    slots.drop(&name("a")).unwrap();
    assert!(matches!(slots.drop(&name("a")), Err(SlotError::Missing(_))));
    assert_eq!(slots.list().unwrap(), [name("b")]);
}

#[test]
fn a_damaged_slot_is_named_and_can_be_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let slots = Slots::new(WalDir::on_os(temp.path()));
    slots.create(&name("a"), SlotInfo::default()).unwrap();
    for garbage in [&b""[..], b"walship slot 1\n", &[b'x'; 1000]] {
        std::fs::write(temp.path().join("walship.slots/a.slot"), garbage).unwrap();
        assert!(matches!(slots.acquire(&name("a")), Err(SlotError::Damaged(_))));
    }
    slots.drop(&name("a")).unwrap();
}

#[test]
fn advances_are_written_once_an_interval_and_at_the_end() {
    let archive = Archive::new();
    let slots = Slots::new(archive.dir.clone());
    let mut slot = slots.create(&name("a"), SlotInfo::default()).unwrap();
    let start = Instant::now();
    slot.advance(Lsn::new(8), T1, start).unwrap();
    let written = archive.simulated_disk().operations();
    for number in 2..100 {
        slot.advance(Lsn::new(8 * number), T1, start + Duration::from_millis(number)).unwrap();
    }
    assert_eq!(archive.simulated_disk().operations(), written, "too soon");
    assert_eq!(slot.info().restart_lsn, Some(Lsn::new(792)));
    slot.advance(Lsn::new(800), T1, start + Slot::WRITE_INTERVAL).unwrap();
    assert_eq!(slots.read(&name("a")).unwrap(), Some(SlotInfo::at(Lsn::new(800), T1)));
    slot.advance(Lsn::new(808), T1, start + Slot::WRITE_INTERVAL).unwrap();
    drop(slot);
    assert_eq!(slots.read(&name("a")).unwrap(), Some(SlotInfo::at(Lsn::new(808), T1)));
}

#[test]
fn after_a_power_cut_a_slot_stands_where_it_was_last_written_or_where_it_was_being_put() {
    let disk = SimDisk::new();
    let slots = |disk: &SimDisk| Slots::new(WalDir::new("/", Arc::new(disk.clone())));
    let mut slot = slots(&disk).create(&name("a"), SlotInfo::at(Lsn::new(8), T1)).unwrap();
    let created = disk.operations();
    slot.advance(Lsn::new(16), T1, Instant::now()).unwrap();
    let mut found = Vec::new();
    for after in created..=disk.operations() {
        for state in disk.crash_states(after, CrashChoices::default()) {
            let info = slots(&state).read(&name("a")).unwrap().expect("a slot that was created");
            found.push(info.restart_lsn.unwrap().as_u64());
            assert!(after < disk.operations() || info.restart_lsn == Some(Lsn::new(16)));
        }
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, [8, 16]);
}

#[test]
fn a_sync_that_fails_is_an_error() {
    let archive = Archive::new();
    let slots = Slots::new(archive.dir.clone());
    for nth in 1..=2 {
        let slot_name = name(&format!("s{nth}"));
        slots.create(&name(&format!("other{nth}")), SlotInfo::default()).unwrap();
        archive.simulated_disk().fail_sync(nth);
        assert!(matches!(slots.create(&slot_name, SlotInfo::default()), Err(SlotError::Io { .. })));
    }
}

#[test]
fn a_position_is_reserved_only_while_nobody_can_remove_wal() {
    let temp = tempfile::tempdir().unwrap();
    let dir = WalDir::on_os(temp.path());
    let slots = Slots::new(dir.clone());
    let released = AtomicBool::new(false);
    let claim = WalClaim::acquire(&dir).unwrap();
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let position = || {
                assert!(released.load(Ordering::SeqCst), "asked while WAL was being removed");
                SlotInfo::at(Lsn::new(5 << 20), TimelineId::FIRST)
            };
            slots.reserve(&name("s"), SegmentSize::new(1 << 20).unwrap(), position).map(|slot| slot.info())
        });
        released.store(true, Ordering::SeqCst);
        drop(claim);
        assert!(maker.join().unwrap().unwrap().restart_lsn.is_some());
    });
}

#[test]
fn a_position_whose_wal_is_gone_is_not_reserved() {
    let temp = tempfile::tempdir().unwrap();
    let slots = Slots::new(WalDir::on_os(temp.path()));
    std::fs::write(temp.path().join("000000010000000000000005"), "").unwrap();
    let size = SegmentSize::new(1 << 20).unwrap();
    let at = |mebibytes: u64| SlotInfo::at(Lsn::new((mebibytes << 20) + 40), TimelineId::FIRST);
    let refusal = slots.reserve(&name("s"), size, || at(4)).unwrap_err();
    assert!(matches!(refusal, SlotError::Gone { .. }), "{refusal}");
    assert!(slots.list().unwrap().is_empty());
    drop(slots.reserve(&name("s"), size, || at(5)).unwrap());
    drop(slots.reserve(&name("ahead"), size, || at(6)).unwrap());
}

#[test]
fn a_temporary_slot_is_gone_with_its_use_or_found_to_be_nobodys() {
    let temp = tempfile::tempdir().unwrap();
    let slots = Slots::new(WalDir::on_os(temp.path()));
    let info = SlotInfo::at(Lsn::new(8), T1);
    let mut slot = slots.create_temporary(&name("t"), info).unwrap();
    assert_eq!(slots.list_temporary().unwrap(), [name("t")]);
    assert_eq!(slots.read_temporary(&name("t")).unwrap(), Some(info));
    assert!(slots.list().unwrap().is_empty() && slots.is_active(&name("t")).unwrap());
    assert!(matches!(slots.drop(&name("t")), Err(SlotError::Active(_))));
    assert!(matches!(slots.create(&name("t"), info), Err(SlotError::Active(_))));
    slot.advance(Lsn::new(16), T1, Instant::now()).unwrap();
    assert_eq!(slots.read_temporary(&name("t")).unwrap(), Some(SlotInfo::at(Lsn::new(16), T1)));
    let directory = temp.path().join("walship.slots");
    // What a killed process leaves.
    let left = |slot: &str| {
        for suffix in ["temporary", "temporary.tmp", "lock"] {
            std::fs::write(directory.join(format!("{slot}.{suffix}")), info.to_text()).unwrap();
        }
    };
    left("killed");
    assert_eq!(slots.list_temporary().unwrap(), [name("t")]);
    left("again");
    slots.create(&name("again"), info).unwrap();
    assert_eq!(slots.list_temporary().unwrap(), [name("t")]);
    drop(slot);
    assert!(slots.list_temporary().unwrap().is_empty());
    slots.drop(&name("again")).unwrap();
    std::fs::remove_file(directory.join("again.temporary.tmp")).unwrap();
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0, "files are left");
}

#[test]
fn a_slot_moves_on_a_full_disk_too_and_a_power_cut_leaves_it_before_or_after() {
    let disk = SimDisk::new();
    let slots = |disk: &SimDisk| Slots::new(WalDir::new("/", Arc::new(disk.clone())));
    let mut slot = slots(&disk).create(&name("a"), SlotInfo::at(Lsn::new(8), T1)).unwrap();
    let created = disk.operations();
    disk.limit_space(Some(0));
    slot.advance(Lsn::new(0x1_0000_0000), T1, Instant::now()).unwrap();
    let moved = SlotInfo::at(Lsn::new(0x1_0000_0000), T1);
    assert_eq!(slots(&disk).read(&name("a")).unwrap(), Some(moved));
    for after in created..=disk.operations() {
        for state in disk.crash_states(after, CrashChoices::default()) {
            let info = slots(&state).read(&name("a")).unwrap().expect("a slot that was created");
            assert!(info == moved || info == SlotInfo::at(Lsn::new(8), T1), "{info:?}");
            assert!(after < disk.operations() || info == moved);
        }
    }
}

#[test]
fn a_position_that_cannot_be_written_is_tried_again_an_interval_later() {
    let disk = SimDisk::new();
    let slots = Slots::new(WalDir::new("/", Arc::new(disk.clone())));
    let mut slot = slots.create(&name("a"), SlotInfo::at(Lsn::new(8), T1)).unwrap();
    let start = Instant::now();
    disk.fail_sync(1);
    slot.advance(Lsn::new(16), T1, start).unwrap_err();
    let operations = disk.operations();
    slot.advance(Lsn::new(24), T1, start + Duration::from_millis(10)).unwrap();
    assert_eq!(disk.operations(), operations, "tried again at once");
    slot.advance(Lsn::new(32), T1, start + Slot::WRITE_INTERVAL).unwrap();
    assert_eq!(slots.read(&name("a")).unwrap(), Some(SlotInfo::at(Lsn::new(32), T1)));
}
