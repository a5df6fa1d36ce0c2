//! Extraction: what is stored once, and the one transaction that moves an offset.

use super::input::LaneBack;
use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::model::partitions::Partitions;
use crate::model::schema::{Field, Schema, Type};

fn schema(names: &[&str]) -> Schema {
    Schema { fields: names.iter().map(|name| Field { name: (*name).into(), kind: Type::Integer }).collect() }
}

fn list(count: u32, first: &str) -> Partitions {
    let mut list = Partitions::new(vec!["parent.id".into(), "value".into()]);
    for index in 0..count {
        list.push([format!("{first}{index}").as_str(), "ü\"\n"]).unwrap();
    }
    list
}

#[tokio::test]
async fn partitions_are_stored_once_also_when_there_are_none() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    for (stream, list, other) in [
        ("whole", Partitions::single(), list(3, "x")),
        ("parts", list(12_345, "v"), list(12_346, "x")),
        ("none", list(0, ""), list(1, "x")),
    ] {
        assert_eq!(ledger.partitions(&task, stream).await.unwrap(), None);
        let stored = ledger.store_partitions(&task, stream, list.clone()).await.unwrap();
        assert_eq!(stored.len(), list.len());
        assert!((0..list.len()).all(|index| stored.values(index) == list.values(index)));
        assert_eq!(ledger.store_partitions(&task, stream, other).await.unwrap(), stored);
    }
}

#[tokio::test]
async fn a_list_that_was_cut_short_is_written_over() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    ledger.store_partitions(&task, STREAM, list(12_000, "old")).await.unwrap();
    // As if the daemon had died before the end of the list.
    let sql = "DELETE FROM partition_lists";
    ledger.write(move |tx| super::super::codec::run(tx, sql, ())).await.unwrap();
    assert_eq!(ledger.partitions(&task, STREAM).await.unwrap(), None);
    let ledger = reopened(ledger).await;
    assert_eq!(ledger.store_partitions(&task, STREAM, list(11_000, "new")).await.unwrap(), list(11_000, "new"));
}

#[tokio::test]
async fn what_children_need_follows_the_segments() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let told = async |ledger: &Ledger| {
        let fold = |all: &mut Vec<String>, values: &Partitions| {
            all.extend((0..values.len()).flat_map(|index| values.row(index).map(str::to_owned).collect::<Vec<_>>()));
            true
        };
        ledger.parent_values(&task, STREAM, Vec::new(), fold).await.unwrap()
    };
    let ids = |ids: &[&str]| {
        let mut list = Partitions::new(vec!["$.id".into()]);
        ids.iter().for_each(|id| list.push([*id]).unwrap());
        list
    };
    for (n, values) in [ids(&["1", "\"2\""]), ids(&["3"])].iter().enumerate() {
        let n = n as u64;
        let step = Advance { values: Some(values), ..Advance::default() };
        ledger.advance(&task, &segment(n, n * 3..n * 3 + 3), step).await.unwrap();
    }
    assert_eq!(told(&ledger).await, ["1", "\"2\"", "3"]);
    // A lane that goes back takes its values back, too.
    event(&ledger, &task, TaskEvent::Pause).await;
    let moves = vec![input::LaneMove { stream: STREAM.into(), lane: 0, offset: after(3) }];
    let target = input::OffsetTarget::Task(task.clone());
    let order = input::SetOffsets { target, moves, actor: String::new(), reason: String::new() };
    ledger.set_offsets(order).await.unwrap();
    assert_eq!(told(&ledger).await, ["1", "\"2\""]);

    assert!(!ledger.has_outside_parent(&task, "accounts").await.unwrap());
    ledger.begin_outside_parent(&task, "accounts").await.unwrap();
    ledger.add_outside_values(&task, "accounts", 0, ids(&["7"])).await.unwrap();
    ledger.begin_outside_parent(&task, "accounts").await.unwrap();
    ledger.add_outside_values(&task, "accounts", 0, ids(&["8"])).await.unwrap();
    ledger.add_outside_values(&task, "accounts", 1, ids(&["9"])).await.unwrap();
    ledger.close_outside_parent(&task, "accounts", 2).await.unwrap();
    let ledger = reopened(ledger).await;
    assert!(ledger.has_outside_parent(&task, "accounts").await.unwrap());
    let first = |seen: &mut Vec<u32>, values: &Partitions| {
        seen.push(values.len());
        false
    };
    assert_eq!(ledger.parent_values(&task, "accounts", vec![], first).await.unwrap(), [1], "no more than is wanted");
}

#[tokio::test]
async fn a_tasks_schema_is_fixed_and_versions_grow_only_with_changes() {
    let (_dir, ledger) = fresh();
    let one = running(&ledger, "shop").await;
    assert_eq!(ledger.last_schema("shop", STREAM).await.unwrap(), None);
    let a = schema(&["id"]);
    assert_eq!(ledger.store_schema(&one, STREAM, &a).await.unwrap(), (a.clone(), 1));
    assert_eq!(ledger.store_schema(&one, STREAM, &schema(&["other"])).await.unwrap(), (a.clone(), 1));
    event(&ledger, &one, TaskEvent::Cancel).await;

    let two = running(&ledger, "shop").await;
    assert_eq!(ledger.store_schema(&two, STREAM, &a).await.unwrap().1, 1);
    event(&ledger, &two, TaskEvent::Cancel).await;
    let three = running(&ledger, "shop").await;
    let b = schema(&["id", "name"]);
    assert_eq!(ledger.store_schema(&three, STREAM, &b).await.unwrap().1, 2);
    let last = ledger.last_schema("shop", STREAM).await.unwrap().unwrap();
    assert_eq!((last.schema, last.version, last.observed), (b, 2, vec![]));
    assert_eq!(ledger.last_schema("crm", STREAM).await.unwrap(), None);
    let row = &ledger.streams(&one).await.unwrap()[0];
    assert_eq!((row.schema.as_ref(), row.schema_version), (Some(&a), 1));
}

#[tokio::test]
async fn what_was_observed_is_handed_on_even_by_failed_tasks() {
    let (_dir, ledger) = fresh();
    let mut seen = Vec::new();
    for name in ["x", "y"] {
        let task = running(&ledger, "shop").await;
        ledger.store_schema(&task, STREAM, &schema(&["id"])).await.unwrap();
        let observed = schema(&[name]);
        let step = Advance { observed: Some(&observed), total: Some(70), ..Advance::default() };
        ledger.advance(&task, &segment(0, 0..1), step).await.unwrap();
        // A segment that saw nothing new takes nothing away.
        ledger.advance(&task, &segment(1, 1..2), Advance::default()).await.unwrap();
        let row = &ledger.streams(&task).await.unwrap()[0];
        assert_eq!((row.observed.as_ref(), row.total), (Some(&observed), Some(70)));
        seen.push(observed);
        event(&ledger, &task, TaskEvent::Fail).await;
    }
    assert_eq!(ledger.last_schema("shop", STREAM).await.unwrap().unwrap().observed, seen);
}

#[tokio::test]
async fn lanes_open_once() {
    let (_dir, ledger) = fresh();
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let starts = [Offset::start(0), Offset::start(1)];
    let lanes = ledger.open_lanes(&task, STREAM, &starts).await.unwrap();
    assert_eq!(lanes.len(), 2);
    assert_eq!((lanes[1].lane, &lanes[1].start, &lanes[1].offset), (1, &starts[1], &starts[1]));
    assert_eq!(ledger.open_lanes(&task, STREAM, &[Offset::start(7)]).await.unwrap(), lanes);
}

#[tokio::test]
async fn a_commit_moves_the_lane_and_records_everything_at_once() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let first = segment(0, 0..3);
    let lane = commit(&ledger, &task, &first).await.unwrap();
    assert_eq!((lane.next_n, &lane.offset, lane.done), (1, &after(3), false));
    assert_eq!(ledger.lanes(&task, STREAM).await.unwrap(), [lane]);
    let second = SealedSegment { cut: CutReason::End, ..segment(1, 3..4) };
    let destinations = ["lake".to_owned()];
    let step = Advance { lane_done: true, destinations: &destinations, ..Advance::default() };
    assert!(ledger.advance(&task, &second, step).await.unwrap().done);

    let rows = ledger.segments(&task, STREAM).await.unwrap();
    assert_eq!(rows.len(), 2);
    let row = &rows[0];
    assert_eq!((&row.id, &row.name, row.bytes), (&first.id, &first.name, first.bytes));
    assert_eq!((&row.sha256, row.crc32c, row.counts), (&first.sha256, first.crc32c, first.counts));
    assert_eq!((row.pages, row.source_bytes, row.superseded), (3, 3000, false));
    assert_eq!((&row.first, &row.last), (&first.delta.from, &first.delta.to));
    let sums = &ledger.streams(&task).await.unwrap()[0];
    assert_eq!((sums.pages, sums.segments, sums.bytes, sums.source_bytes), (4, 2, 2001, 4000));
    assert_eq!((sums.counts.read, sums.counts.written, sums.counts.rejected, sums.counts.rescued), (40, 38, 2, 4));
    assert!(sums.counts.balanced());
    assert_eq!(number(&ledger, "SELECT count(*) FROM deliveries"), 3);
    let mut audit = audit_of(&ledger, &task).await;
    let audit = audit.split_off(audit.len() - 2);
    assert!(audit.iter().all(|row| row.action == "segment_committed"));
    assert!(audit[1].detail.as_ref().unwrap().contains(&second.sha256));
}

#[tokio::test]
async fn gaps_overlaps_and_repetitions_are_refused_and_leave_no_trace() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..3)).await.unwrap();
    let seq = *ledger.changes().borrow();
    for (n, pages) in [(0, 0..3), (1, 2..4), (1, 4..5), (1, 0..1)] {
        let error = commit(&ledger, &task, &segment(n, pages.clone())).await.unwrap_err();
        assert!(matches!(error, LedgerError::NotContiguous { .. }), "{pages:?}: {error}");
        assert_eq!(error.class(), ErrorClass::Conflict);
    }
    assert_eq!(*ledger.changes().borrow(), seq);
    assert_eq!(ledger.segments(&task, STREAM).await.unwrap().len(), 1);
    assert_eq!(ledger.streams(&task).await.unwrap()[0].segments, 1);
}

#[tokio::test]
async fn numbers_that_do_not_add_up_are_refused() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    type Spoil = fn(&mut SealedSegment);
    let spoils: [Spoil; 6] = [
        |s| s.counts.written -= 1,
        |s| s.pages += 1,
        |s| (s.counts.read, s.counts.written) = (s.counts.read + 1, s.counts.written + 1),
        |s| s.id.n = 1,
        |s| s.id.revision = 1,
        |s| s.delta.to.records = 0,
    ];
    for (i, spoil) in spoils.iter().enumerate() {
        let mut bad = segment(0, 0..1);
        spoil(&mut bad);
        let error = commit(&ledger, &task, &bad).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{i}: {error}");
    }
    assert!(ledger.segments(&task, STREAM).await.unwrap().is_empty());
    let huge = SealedSegment { bytes: u64::MAX, ..segment(0, 0..1) };
    assert_eq!(commit(&ledger, &task, &huge).await.unwrap_err().class(), ErrorClass::Bug);
    commit(&ledger, &task, &segment(0, 0..1)).await.unwrap();
}

#[tokio::test]
async fn only_a_task_that_runs_or_is_stopping_commits() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    event(&ledger, &task, TaskEvent::Pause).await;
    commit(&ledger, &task, &segment(0, 0..1)).await.unwrap();
    event(&ledger, &task, TaskEvent::Cancel).await;
    let error = commit(&ledger, &task, &segment(1, 1..2)).await.unwrap_err();
    assert!(error.to_string().contains("it is cancelled"), "{error}");
    let error = commit(&ledger, &TaskId::known("x"), &segment(0, 0..1)).await.unwrap_err();
    assert!(matches!(error, LedgerError::NoSuchTask(_)));
}

#[tokio::test]
async fn a_lane_ends_once_and_its_empty_tail_makes_no_segment() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..1)).await.unwrap();
    let error = ledger.stream_extracted(&task, STREAM).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Bug, "{error}");
    let end = Offset { cursor: PageCursor::End, pages: 2, ..after(1) };
    let wrong = CheckpointDelta { from: after(0), to: end.clone() };
    let error = ledger.finish_lane(&task, STREAM, 0, tail(&wrong)).await.unwrap_err();
    assert!(matches!(error, LedgerError::NotContiguous { .. }));
    let lost = CheckpointDelta { from: after(1), to: Offset { records: 11, ..end.clone() } };
    assert_eq!(ledger.finish_lane(&task, STREAM, 0, tail(&lost)).await.unwrap_err().class(), ErrorClass::Bug);
    let delta = CheckpointDelta { from: after(1), to: end.clone() };
    let lane = ledger.finish_lane(&task, STREAM, 0, tail(&delta)).await.unwrap();
    assert_eq!((lane.done, lane.next_n, &lane.offset), (true, 1, &end));
    let mut beyond = segment(1, 2..3);
    (beyond.delta.from, beyond.delta.to) = (end.clone(), Offset { pages: 3, records: 20, ..end });
    assert!(commit(&ledger, &task, &beyond).await.unwrap_err().to_string().contains("at its end"));
    assert!(matches!(ledger.finish_lane(&task, STREAM, 9, tail(&delta)).await, Err(LedgerError::NotThere { .. })));

    assert_eq!(ledger.task_extracted(&task, vec![]).await.unwrap_err().class(), ErrorClass::Bug);
    ledger.stream_extracted(&task, STREAM).await.unwrap();
    ledger.task_extracted(&task, vec![]).await.unwrap();
    let seq = *ledger.changes().borrow();
    ledger.stream_extracted(&task, STREAM).await.unwrap();
    ledger.task_extracted(&task, vec![]).await.unwrap();
    assert_eq!(*ledger.changes().borrow(), seq, "said twice, noted once");
    assert!(ledger.task(&task).await.unwrap().unwrap().extracted);
    assert!(ledger.streams(&task).await.unwrap()[0].extracted);
}

#[tokio::test]
async fn a_failed_stream_ends_the_extraction_too_and_a_retry_clears_it() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    ledger.stream_failed(&task, STREAM, "404").await.unwrap();
    ledger.task_extracted(&task, vec![]).await.unwrap();
    ledger.add_note(&task, STREAM, "the journal was dropped").await.unwrap();
    ledger.add_note(&task, STREAM, "the journal was dropped").await.unwrap();
    for i in 0..200 {
        ledger.add_note(&task, "users", &format!("{i} {}", "x".repeat(5000))).await.unwrap();
    }
    let rows = ledger.streams(&task).await.unwrap();
    assert_eq!((rows[0].error.as_deref(), rows[0].notes.len()), (Some("404"), 1));
    assert_eq!((rows[1].stream.as_str(), rows[1].notes.len(), rows[1].notes[0].len()), ("users", 100, 1000));
    event(&ledger, &task, TaskEvent::Fail).await;
    let retried = event(&ledger, &task, TaskEvent::Retry).await;
    assert_eq!(ledger.streams(&task).await.unwrap()[0].error, None);
    assert!(!retried.extracted, "the stream that was given up is extracted again, and takes a slot for it");
    assert_eq!(number(&ledger, "SELECT extracted FROM tasks"), 0);
}

#[tokio::test]
async fn a_changed_stream_does_not_go_on() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    ledger.begin_stream(&task, STREAM, "one", false).await.unwrap();
    ledger.begin_stream(&task, STREAM, "one", false).await.unwrap();
    let error = ledger.begin_stream(&task, STREAM, "two", false).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("offsets reset"), "{error}");
}

#[tokio::test]
async fn a_stream_starts_again_with_a_wider_schema() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    ledger.store_schema(&task, STREAM, &schema(&["id"])).await.unwrap();
    commit(&ledger, &task, &segment(0, 0..2)).await.unwrap();
    let wide = schema(&["id", "new"]);
    let superseded = ledger.restart_stream(&task, STREAM, &wide, 2).await.unwrap().unwrap();
    assert_eq!(superseded.len(), 1);
    assert!(ledger.is_superseded(&task, &superseded[0].id).await.unwrap());
    let lane = ledger.lanes(&task, STREAM).await.unwrap().remove(0);
    assert_eq!((lane.revision, lane.offset, lane.next_n, lane.done), (1, Offset::start(0), 0, false));
    let row = ledger.streams(&task).await.unwrap().remove(0);
    assert_eq!((row.schema, row.schema_version, row.counts), (Some(wide.clone()), 2, Counts::default()));
    assert_eq!(ledger.store_schema(&task, STREAM, &schema(&["other"])).await.unwrap(), (wide, 2));

    // A delivery that was under way is not taken for one, and the new segment has a name of its own.
    assert!(!ledger.delivery_verified(&task, &superseded[0].id, "lake").await.unwrap());
    assert!(!ledger.delivery_verified(&task, &superseded[0].id, "offsite").await.unwrap());
    assert_eq!(number(&ledger, "SELECT count(*) FROM deliveries WHERE verified_at IS NOT NULL"), 0);
    let mut again = segment(0, 0..2);
    again.id.revision = 1;
    again.name = again.id.file_name("csv");
    commit(&ledger, &task, &again).await.unwrap();
    assert!(!ledger.is_superseded(&task, &again.id).await.unwrap());

    assert!(ledger.restart_stream(&task, STREAM, &schema(&["a"]), 2).await.unwrap().is_some());
    let before = ledger.lanes(&task, STREAM).await.unwrap();
    assert!(ledger.restart_stream(&task, STREAM, &schema(&["b"]), 2).await.unwrap().is_none(), "often enough");
    assert_eq!(ledger.lanes(&task, STREAM).await.unwrap(), before);
    event(&ledger, &task, TaskEvent::Cancel).await;
    assert!(ledger.restart_stream(&task, STREAM, &schema(&["b"]), 9).await.is_err());
}

/// The place in partition `partition` after `here` of its pages, `pages` pages after the start of the lane.
fn in_partition(partition: u32, here: u64, pages: u64) -> Offset {
    Offset { partition, partition_records: here * 10, ..after(pages) }
}

#[tokio::test]
async fn a_lane_goes_back_to_the_first_segment_that_holds_the_partition() {
    // Where the second segment ends: in the middle of partition 1, or right before its first page.
    for (end, stays) in [(in_partition(1, 1, 4), 1), (in_partition(1, 0, 4), 2)] {
        let (_dir, ledger) = fresh();
        let task = running(&ledger, "shop").await;
        let ends = [after(0), after(2), end.clone(), in_partition(1, 3, 6)];
        for n in 0..3 {
            let mut segment = segment(n, 2 * n..2 * n + 2);
            segment.delta = CheckpointDelta { from: ends[n as usize].clone(), to: ends[n as usize + 1].clone() };
            commit(&ledger, &task, &segment).await.unwrap();
        }
        let back = LaneBack { lane: 0, partition: 1, note: "page 5 has other records".into() };
        let superseded = ledger.restart_partition(&task, STREAM, &back, (2, 3)).await.unwrap().unwrap();
        assert_eq!(superseded.iter().map(|segment| segment.id.n).collect::<Vec<_>>(), (stays..3).collect::<Vec<_>>());
        let lane = ledger.lanes(&task, STREAM).await.unwrap().remove(0);
        assert_eq!((lane.revision, lane.offset, lane.next_n), (1, ends[stays as usize].clone(), stays));
        let row = ledger.streams(&task).await.unwrap().remove(0);
        assert_eq!((row.counts.read, row.notes), (stays * 20, vec![back.note.clone()]));

        // Another partition has a count of its own.
        let first = LaneBack { partition: 0, ..back.clone() };
        assert!(ledger.restart_partition(&task, STREAM, &back, (2, 3)).await.unwrap().is_some());
        assert!(ledger.restart_partition(&task, STREAM, &back, (2, 3)).await.unwrap().is_none(), "often enough");
        assert!(ledger.restart_partition(&task, STREAM, &first, (2, 3)).await.unwrap().is_some());
        assert_eq!(ledger.lanes(&task, STREAM).await.unwrap()[0].offset, after(0));
        assert!(ledger.restart_partition(&task, STREAM, &first, (2, 3)).await.unwrap().is_none(), "all together");
        event(&ledger, &task, TaskEvent::Cancel).await;
        assert!(ledger.restart_partition(&task, STREAM, &first, (9, 9)).await.is_err());
        event(&ledger, &task, TaskEvent::Retry).await;
        event(&ledger, &task, TaskEvent::Start).await;
        assert!(
            ledger.restart_partition(&task, STREAM, &back, (2, 3)).await.unwrap().is_some(),
            "a retry begins to count anew"
        );
    }
}

#[tokio::test]
async fn what_a_lane_read_behind_its_last_segment_stays_in_the_sums_when_another_goes_back() {
    let (_dir, ledger) = fresh();
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    event(&ledger, &task, TaskEvent::Start).await;
    ledger.open_lanes(&task, STREAM, &[Offset::start(0), Offset::start(1)]).await.unwrap();
    commit(&ledger, &task, &segment(0, 0..2)).await.unwrap();
    let counts = Counts { read: 10, filtered: 7, duplicate: 3, ..Counts::default() };
    let delta = CheckpointDelta { from: after(2), to: Offset { cursor: PageCursor::End, ..after(3) } };
    ledger.finish_lane(&task, STREAM, 0, Tail { delta, counts }).await.unwrap();
    let sums = || async { ledger.streams(&task).await.unwrap().remove(0) };
    let before = sums().await;
    let back = |lane| LaneBack { lane, partition: lane, note: "shifted".into() };
    ledger.restart_partition(&task, STREAM, &back(1), (3, 9)).await.unwrap().unwrap();
    let after = sums().await;
    assert_eq!((after.counts, after.pages), (before.counts, before.pages));
    ledger.restart_partition(&task, STREAM, &back(0), (3, 9)).await.unwrap().unwrap();
    assert_eq!(sums().await.counts, Counts::default(), "a lane that goes back has no tail any more");
}
