//! Each stage of the fast path alone, over pages that are made here: `stages STAGE SHAPE ROUNDS`, without arguments all.
//!
//! Prints CPU nanoseconds of this thread per record. Under callgrind the difference between two numbers of rounds is what a
//! round takes, to the instruction; `tests/bench/stages` compares that with what was checked in.

use bytes::Bytes;
use saas_export_daemon::base::pool::Pool;
use saas_export_daemon::config::settings::{
    AvroCompression, AvroFormat, FileLayout, Format, ParquetCompression, ParquetFormat, TextCompression, TextFormat,
};
use saas_export_daemon::formats;
use saas_export_daemon::model::offset::Offset;
use saas_export_daemon::record::convert::{Eager, Plan};
use saas_export_daemon::record::infer::Sample;
use saas_export_daemon::record::locate::Locator;
use saas_export_daemon::record::page::{Facts, Page};
use saas_export_manifest::Digester;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

/// Segments of this size hold everything that a round makes.
const CHUNK: u64 = 1 << 30;
/// Rounds where nobody says how many, and the most of them in a run without arguments.
const ROUNDS: u32 = 5;

/// What a page of a shape looks like.
struct Shape {
    name: &'static str,
    pages: u32,
    records: u32,
    record: fn(&mut String, &mut Random, u32),
}

const SHAPES: [Shape; 3] = [
    Shape { name: "narrow", pages: 40, records: 1000, record: narrow },
    Shape { name: "wide", pages: 10, records: 100, record: wide },
    Shape { name: "nested", pages: 20, records: 500, record: nested },
];

const STAGES: [&str; 11] =
    ["locate", "infer", "columns", "eager", "flat", "lines", "parquet", "avro", "csv", "ndjson", "digest"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds = args.get(2).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for shape in SHAPES.iter().filter(|shape| args.get(1).is_none_or(|wanted| wanted == shape.name)) {
        let bench = Bench::new(shape);
        for stage in STAGES.into_iter().filter(|stage| args.first().is_none_or(|wanted| wanted == stage)) {
            let taken = (0..rounds).map(|_| bench.round(stage)).min().unwrap_or_default();
            let records = u64::from(shape.pages) * u64::from(shape.records);
            println!(
                "{stage:10} {:8} {:8} ns/record {:8.0} MB/s",
                shape.name,
                taken / records.max(1),
                bench.rate(taken)
            );
        }
    }
}

struct Bench {
    locator: Locator,
    bodies: Vec<Bytes>,
    columns: Arc<Plan>,
    flat: Plan,
    lines: Plan,
}

impl Bench {
    fn new(shape: &Shape) -> Self {
        let mut random = Random(42);
        let bodies = (0..shape.pages).map(|page| body(shape, &mut random, page)).collect::<Vec<_>>();
        let locator = Locator::new("$.data[*]", &["$.next_cursor"]).expect("paths");
        let mut sample = Sample::default();
        for body in bodies.iter().take(10) {
            sample.add(&page(&locator, body));
        }
        let schema = sample.schema();
        let plan = |format: &Format| Plan::new(&schema, formats::layout(format));
        let text = || TextFormat { compression: TextCompression::Zstd, level: None };
        Self {
            locator,
            bodies,
            columns: Arc::new(plan(&Format::Parquet(ParquetFormat::default()))),
            flat: plan(&Format::Csv(text())),
            lines: plan(&Format::Ndjson(text())),
        }
    }

    /// JSON megabytes a second.
    fn rate(&self, nanoseconds: u64) -> f64 {
        let bytes: usize = self.bodies.iter().map(Bytes::len).sum();
        bytes as f64 * 1e3 / nanoseconds.max(1) as f64
    }

    /// CPU nanoseconds of a stage over all pages.
    fn round(&self, stage: &str) -> u64 {
        let text = TextFormat { compression: TextCompression::Zstd, level: None };
        let plain = TextFormat { compression: TextCompression::None, level: None };
        let parquet = ParquetFormat { compression: ParquetCompression::Zstd, ..ParquetFormat::default() };
        let avro = AvroFormat { compression: AvroCompression::Zstd, ..AvroFormat::default() };
        match stage {
            "locate" => timed(|| self.bodies.iter().for_each(|body| drop(black_box(self.locator.locate(body))))),
            "infer" => self.each(|page| {
                let mut sample = Sample::default();
                sample.add(page);
                black_box(sample.schema());
            }),
            "columns" => self.each(|page| drop(black_box(self.columns.convert(page, None)))),
            "eager" => timed(|| {
                for body in &self.bodies {
                    let mut eager = Eager::new(&self.columns, body, 1000).expect("columns");
                    let located = self.locator.locate_and_take(body, &mut eager).expect("a page");
                    drop(black_box(eager.finish(located.records.len()).expect("all of them")));
                }
            }),
            "flat" => self.each(|page| drop(black_box(self.flat.convert(page, None)))),
            "lines" => self.each(|page| drop(black_box(self.lines.convert(page, None)))),
            "parquet" => self.encode(&Format::Parquet(parquet), &self.columns),
            "avro" => self.encode(&Format::Avro(avro), &self.columns),
            "csv" => self.encode(&Format::Csv(plain), &self.flat),
            "ndjson" => self.encode(&Format::Ndjson(text), &self.lines),
            "digest" => self.each(|page| {
                let mut digester = Digester::default();
                digester.update(&page.body);
                black_box(digester.finish());
            }),
            other => panic!("there is no stage {other}: {}", STAGES.join(", ")),
        }
    }

    fn each(&self, work: impl Fn(&Page)) -> u64 {
        let pages: Vec<_> = self.bodies.iter().map(|body| page(&self.locator, body)).collect();
        timed(|| pages.iter().for_each(work))
    }

    /// What an encoder takes, without what it is given.
    fn encode(&self, format: &Format, plan: &Plan) -> u64 {
        let pages: Vec<_> = self.bodies.iter().map(|body| plan.convert(&page(&self.locator, body), None)).collect();
        let pool = Pool::new(1);
        timed(|| {
            let mut encoder =
                formats::open((format, FileLayout::Parts), plan, CHUNK, Box::new(std::io::sink())).expect("an encoder");
            for page in pages {
                encoder.write(page, &pool).expect("a page");
            }
            encoder.finish(&pool).expect("a file");
        })
    }
}

fn page(locator: &Locator, body: &Bytes) -> Page {
    let located = locator.locate(body).expect("a page");
    let at = Offset::start(0);
    Page {
        body: body.clone(),
        records: located.records,
        facts: Facts { compact: located.compact, utf8: true, digest: None },
        offset_before: at.clone(),
        offset_after: at,
        total: None,
        made: None,
        permit: None,
    }
}

fn timed(work: impl FnOnce()) -> u64 {
    // What the scheduler counts, in nanoseconds; the clock of getrusage moves in ticks of milliseconds.
    let now = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or_default()
    };
    let before = now();
    work();
    now() - before
}

/// xorshift64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn body(shape: &Shape, random: &mut Random, page: u32) -> Bytes {
    let mut text = String::from("{\"data\":[");
    for n in 0..shape.records {
        text.push_str(if n == 0 { "" } else { "," });
        (shape.record)(&mut text, random, page * shape.records + n);
    }
    let _ = write!(text, "],\"next_cursor\":\"{page}\"}}");
    text.into()
}

fn narrow(out: &mut String, random: &mut Random, id: u32) {
    const WORDS: [&str; 8] =
        ["ledger", "segment", "Zürich", "a \\\"quoted\\\" word", "offset", "chain", "spool", "lane"];
    let (a, b) = (random.next(), random.next());
    let _ = write!(
        out,
        "{{\"id\":{id},\"uuid\":\"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}\",\"created_at\":\"2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\",",
        a as u32,
        a >> 48,
        b & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff,
        random.below(12) + 1,
        random.below(28) + 1,
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(1000),
    );
    let _ = write!(
        out,
        "\"name\":\"{} {}\",\"email\":\"user{id}@mail{}.example\",\"score\":{}.{:02},\"active\":{},\"parent\":",
        WORDS[random.below(8) as usize],
        random.below(100_000),
        random.below(50),
        random.below(1000),
        random.below(100),
        a & 1 == 1,
    );
    if random.below(10) < 4 {
        out.push_str("null");
    } else {
        let _ = write!(out, "{}", random.below(1_000_000));
    }
    let _ = write!(
        out,
        ",\"kind\":\"{}\",\"address\":{{\"city\":\"{}\",\"country\":\"C{}\",\"zip\":\"{:05}\"}},\"tags\":[",
        ["new", "open", "done", "late"][random.below(4) as usize],
        WORDS[random.below(8) as usize],
        random.below(40),
        random.below(100_000),
    );
    for n in 0..random.below(4) {
        let _ = write!(out, "{}\"t{}\"", if n == 0 { "" } else { "," }, random.below(200));
    }
    out.push_str("],\"note\":\"");
    for _ in 0..10 {
        out.push_str(WORDS[random.below(8) as usize]);
        out.push(' ');
    }
    out.push_str("\"}");
}

fn wide(out: &mut String, random: &mut Random, id: u32) {
    let _ = write!(out, "{{\"id\":{id},\"at\":\"2024-01-01T00:00:00Z\"");
    for n in 0..60 {
        let _ = write!(out, ",\"s{n:04}\":\"v{}\"", random.below(30));
    }
    for n in 0..2800 {
        let _ = write!(out, ",\"f{n:04}\":");
        match random.below(10) {
            0..7 => out.push_str("null"),
            _ => drop(write!(out, "{}.{}", random.below(1000), random.below(9000) + 1)),
        }
    }
    out.push('}');
}

fn nested(out: &mut String, random: &mut Random, id: u32) {
    let kind = random.below(3);
    let _ = write!(
        out,
        "{{\"id\":\"{id}\",\"type\":\"{}\",\"actor\":{{\"id\":{},\"login\":\"user{}\",\"url\":\"https://api.example/users/{}\"}},\"repo\":{{\"id\":{},\"name\":\"r{}\"}},\"payload\":{{",
        ["Push", "Issue", "Pull"][kind as usize],
        random.below(100_000),
        random.below(5000),
        random.below(5000),
        random.below(1000),
        random.below(1000),
    );
    match kind {
        0 => {
            let _ = write!(out, "\"push_id\":{},\"commits\":[", random.next() >> 20);
            for n in 0..=random.below(4) {
                let _ = write!(
                    out,
                    "{}{{\"sha\":\"{:016x}{:016x}\",\"author\":{{\"name\":\"n{}\",\"email\":\"e{}@x.example\"}},\"message\":\"fix number {}\",\"distinct\":true}}",
                    if n == 0 { "" } else { "," },
                    random.next(),
                    random.next(),
                    random.below(900),
                    random.below(900),
                    random.below(9000),
                );
            }
            out.push(']');
        }
        1 => {
            let _ = write!(
                out,
                "\"action\":\"opened\",\"issue\":{{\"number\":{},\"title\":\"it breaks at {}\",\"user\":{{\"login\":\"user{}\"}},\"labels\":[{{\"name\":\"bug\",\"color\":\"ff0000\"}}],\"comments\":{},\"body\":null}}",
                random.below(10_000),
                random.below(10_000),
                random.below(5000),
                random.below(30),
            );
        }
        _ => {
            let _ = write!(
                out,
                "\"number\":{},\"pull_request\":{{\"head\":{{\"ref\":\"b{}\",\"sha\":\"{:016x}\"}},\"merged\":{},\"additions\":{}}}",
                random.below(10_000),
                random.below(100),
                random.next(),
                random.below(2) == 1,
                random.below(5000),
            );
        }
    }
    let _ = write!(
        out,
        "}},\"public\":true,\"created_at\":\"2024-02-03T{:02}:{:02}:00Z\"}}",
        random.below(24),
        random.below(60)
    );
}
