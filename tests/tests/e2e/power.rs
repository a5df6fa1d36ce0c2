//! The power fails: what was not synced is gone, at every crash point and at random moments; nothing that counts is lost.
//!
//! A file system of its own on a loop device is shut down without a last write (`xfs_io -x -c shutdown`: what was synced stays,
//! all else is lost, and every call fails from then on), unmounted and mounted again, as after a reset.

use crate::crash::{RATE, Scene, all_points, bed_in, each, finishes, points, undisturbed};
use crate::product::{self, Run, Way};
use crate::torture;
use saas_export_tests::harness::bed::PATIENCE;
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::programs::{has, root_or_skip, skipped};
use saas_export_tests::sample::Fault;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const UNSYNCED: &[u8] = b"written, and not synced";

/// A file system whose power can be cut; it goes with the value.
struct Disk {
    kind: &'static str,
    home: tempfile::TempDir,
    cuts: AtomicU32,
}

fn run(command: &mut Command) {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

impl Disk {
    /// None where this machine has no such file system.
    fn new(kind: &'static str) -> Option<Self> {
        let make = format!("mkfs.{kind}");
        if !root_or_skip("power: file systems are made and mounted by root") {
            return None;
        }
        if !has("xfs_io") || !has(&make) {
            skipped(&format!("power: xfs_io or {make} is missing"));
            return None;
        }
        let home = tempfile::Builder::new().prefix("sxd-power-").tempdir().expect("a directory");
        let disk = Self { kind, home, cuts: AtomicU32::new(0) };
        std::fs::File::create(disk.image()).and_then(|file| file.set_len(400 << 20)).expect("an image");
        std::fs::create_dir(disk.root()).expect("a directory to mount at");
        run(Command::new(make).arg("-q").arg(disk.image()));
        let mounted = disk.mount().status().is_ok_and(|status| status.success());
        if !mounted {
            skipped(&format!("power: {kind} on a loop device cannot be mounted here"));
        }
        mounted.then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    fn mount(&self) -> Command {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind, "-o", "loop"]).arg(self.image()).arg(self.root());
        mount
    }

    /// It is back, also where the case before this one did not come so far.
    fn is_there(&self) {
        if std::fs::write(self.root().join("probe"), "").is_err() {
            self.back();
        }
    }

    /// Everything so far is on the disk.
    fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.root()));
    }

    /// The power fails. A file that nobody synced goes with it, or this would be no such failure.
    fn cut(&self) {
        // Never the same one: what was truncated is flushed when it is closed.
        self.cuts.fetch_add(1, Ordering::Relaxed);
        std::fs::write(self.unsynced(), UNSYNCED).expect("it is written");
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.root()));
    }

    /// It is there again.
    fn back(&self) {
        let umount = || Command::new("umount").arg(self.root()).status().is_ok_and(|status| status.success());
        let free = (0..50).any(|_| {
            umount() || {
                std::thread::sleep(Duration::from_millis(100));
                false
            }
        });
        assert!(free, "{} is still in use", self.root().display());
        run(&mut self.mount());
        let left = std::fs::read(self.unsynced()).unwrap_or_default();
        assert!(left != UNSYNCED, "what nobody synced is there: the power did not fail");
    }

    fn unsynced(&self) -> PathBuf {
        self.root().join(format!("unsynced-{}", self.cuts.load(Ordering::Relaxed)))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.root()).output();
    }
}

/// A bed on the disk, whose directory survives. What is copied elsewhere is on another machine's disk, so to speak.
fn scene(disk: &Disk, format: &str) -> Scene {
    disk.is_there();
    let scene = bed_in(&disk.root(), format);
    scene.bed.api.set_faults(vec![Fault::rate(RATE)]);
    disk.sync();
    scene
}

/// A task that was accepted is still known, and ends as if nothing had happened.
fn recovers(disk: &Disk, scene: &Scene, accepted: Option<&str>, wanted: &crate::crash::Parts) {
    disk.back();
    if let Some(id) = accepted {
        let daemon = scene.bed.start();
        let tasks = daemon.get("/v1/tasks");
        let known = tasks.as_array().is_some_and(|tasks| tasks.iter().any(|task| task["id"] == id));
        assert!(known, "the accepted task {id} is gone: {tasks}");
        daemon.kill();
    }
    finishes(&scene.bed, wanted);
}

fn cut_at(disk: &Disk, format: &str, point: &str, wanted: &crate::crash::Parts) {
    let scene = scene(disk, format);
    let daemon = scene.bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
    let answer = daemon.ask("POST", "/v1/exports/shop/run", "");
    let (status, said) = daemon.ended(PATIENCE);
    disk.cut();
    assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
    let accepted = answer.ok().filter(|answer| answer.status < 300).map(|answer| answer.json());
    recovers(disk, &scene, accepted.as_ref().and_then(|said| said["result"]["task"].as_str()), wanted);
}

/// The daemon goes on for a moment while every file fails.
fn cut_while_it_runs(disk: &Disk, format: &str, moment: Duration, wanted: &crate::crash::Parts) {
    let scene = scene(disk, format);
    let daemon = scene.bed.start();
    let id = daemon.run("shop");
    std::thread::sleep(moment);
    disk.cut();
    std::thread::sleep(Duration::from_millis(50));
    daemon.kill();
    recovers(disk, &scene, Some(&id), wanted);
}

fn points_of(kind: &'static str, format: &str, mine: impl Fn(usize) -> bool) {
    let Some(disk) = Disk::new(kind) else { return };
    let (wanted, _) = undisturbed(format);
    let points = points().into_iter().enumerate().filter(|(at, _)| torture() || mine(*at));
    each(&points.map(|(_, point)| point).collect::<Vec<_>>(), |point| cut_at(&disk, format, point, &wanted));
}

#[test]
fn the_power_fails_at_every_point_xfs() {
    points_of("xfs", "parquet", |at| at % 2 == 0);
}

#[test]
fn the_power_fails_at_every_point_ext4() {
    points_of("ext4", "ndjson", |at| at % 2 == 1);
}

/// Those points that only an export of another kind passes; its destinations with servers are other machines.
fn elsewhere(kind: &'static str, format: &str, mine: impl Fn(usize) -> bool) {
    let Some(disk) = Disk::new(kind) else { return };
    let plain = points();
    let rest = all_points().into_iter().filter(|point| !plain.contains(point));
    let passages: Vec<_> =
        rest.flat_map(|point| Way::past(&point).into_iter().map(move |way| (point.clone(), way))).collect();
    let passages: Vec<_> = passages.into_iter().enumerate().filter(|(at, _)| torture() || mine(*at)).collect();
    let named = |(_, (point, way)): &(usize, (String, Way))| format!("{point} {way:?}");
    each(&passages.iter().map(named).collect::<Vec<_>>(), |name| {
        let (_, (point, way)) = passages.iter().find(|passage| named(passage) == name).expect("a case");
        disk.is_there();
        let mut scene = product::Scene::new(&disk.root(), format, *way, Run::First);
        if !scene.passes(point) {
            return skipped(&format!("power: {name}: no server"));
        }
        scene.prepare(point);
        disk.sync();
        scene.dies(point);
        disk.cut();
        disk.back();
        scene.judge();
    });
}

#[test]
fn the_power_fails_on_every_other_way_xfs() {
    elsewhere("xfs", "avro", |at| at % 2 == 0);
}

#[test]
fn the_power_fails_on_every_other_way_ext4() {
    elsewhere("ext4", "csv", |at| at % 2 == 1);
}

#[test]
fn the_power_fails_at_random_moments() {
    for (kind, format) in [("xfs", "ndjson"), ("ext4", "parquet")] {
        let Some(disk) = Disk::new(kind) else { continue };
        let (wanted, time) = undisturbed(format);
        let moments: u32 = if torture() { 50 } else { 4 };
        let mut chance = Chance::of_this_run("power");
        let cases: Vec<String> =
            (0..moments).map(|_| (time.as_micros() as u64 * chance.below(1000) / 1000).to_string()).collect();
        each(&cases, |moment| {
            cut_while_it_runs(&disk, format, Duration::from_micros(moment.parse().expect("a number")), &wanted);
        });
    }
}
