//! Slots that are made while checkpoints remove WAL.

use replication::waldir::{SlotInfo, Slots, WalClaim};

use super::*;

const SMALL: [(&str, &str); 2] = [("max_wal_size", "64MB"), ("min_wal_size", "2MB")];

fn oldest_segment(leader: &TestNode) -> Lsn {
    let size = leader.engine().log().segment_size();
    let listing = leader.storage().dir.list(size).unwrap();
    size.start_of(listing.segments.iter().map(|file| file.segment).min().unwrap())
}

#[test]
fn a_checkpoint_under_way_keeps_what_a_slot_claims_meanwhile() {
    let root = root();
    let leader = TestNode::new_leader(&root.path().join("leader"), &SMALL);
    leader.put_much("before ");
    let dir = leader.storage().dir.clone();
    let before = dir.control_file().unwrap().unwrap().redo;
    let claim = WalClaim::acquire(&dir).unwrap();
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| leader.engine().checkpoint(engine::checkpoint::Cause::Immediate));
        // It is complete but for the removal of WAL, which it would begin now.
        wait_until("the checkpoint", || dir.control_file().unwrap().unwrap().redo > before);
        let name = SlotName::new("claimed").unwrap();
        drop(Slots::new(dir.clone()).create(&name, SlotInfo::at(before, TimelineId::FIRST)).unwrap());
        drop(claim);
        checkpoint.join().unwrap().unwrap();
    });
    assert!(oldest_segment(&leader) <= before);
    assert_ne!(leader.storage().slots().unwrap().remove(0).wal_status, Some(shipping::WalStatus::Lost));
}

#[test]
fn slots_reserved_while_checkpoints_come_and_go_have_their_wal_from_the_beginning() {
    let root = root();
    let leader = TestNode::new_leader(&root.path().join("leader"), &SMALL);
    let name = SlotName::new("s").unwrap();
    std::thread::scope(|scope| {
        let makers = scope.spawn(|| {
            for _ in 0..40 {
                leader.storage().create_slot(&name, true).unwrap();
                let row = leader.storage().slots().unwrap().remove(0);
                assert_eq!(row.wal_status, Some(shipping::WalStatus::Reserved));
                leader.storage().drop_slot(&name).unwrap();
            }
        });
        let mut round = 0;
        while !makers.is_finished() {
            leader.put(&format!("{round}"), &"x".repeat(7000));
            leader.engine().log().switch_segment().unwrap();
            leader.engine().checkpoint(engine::checkpoint::Cause::Immediate).unwrap();
            round += 1;
        }
        makers.join().unwrap();
    });
}
