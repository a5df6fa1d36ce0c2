"""Reads exports with libraries of others and compares every value with the API's own answer.

read.py LAKE TRUTH.json PARQ: LAKE/<format>-<compression>-<layout>/orders/<task>/, as run.sh makes them.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import duckdb
import fastavro
import polars
import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from backports import zstd

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
NUMBERS = ("amount", "weight")
INSTANTS = ("created_at", "updated_at")
NESTED = ("address", "tags")


def instant(value):
    """Microseconds since 1970 of whatever a reader calls an instant."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    return value


def plain(row, flat):
    """A row as the truth has it; `flat`: from CSV, where every value may be a text."""
    row = {key: value for key, value in row.items() if value is not None and key != "_rescued"}
    row["uuid"] = str(row["uuid"])
    for key in INSTANTS:
        row[key] = instant(row[key])
    for key in NUMBERS:
        if key in row:
            row[key] = decimal.Decimal(str(row[key])).quantize(decimal.Decimal("0.001"))
    for key in ("id", "quantity"):
        if key in row:
            row[key] = int(row[key])
    if flat:
        for key in NESTED:
            row[key] = json.loads(row[key])
        if isinstance(row["paid"], str):
            row["paid"] = {"true": True, "false": False}[row["paid"]]
        # Several readers do not tell an empty text from none.
        row = {key: value for key, value in row.items() if value != ""}
    return row


def plain_bytes(path):
    """The text of a file, unpacked by Python's own hands."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstd.decompress(data)
    return data


def unpacked_by_command(path):
    """The text of a file, unpacked by the command for it."""
    command = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    if command is None or shutil.which(command) is None:
        return None
    return subprocess.run([command, "-dc", str(path)], check=True, capture_output=True).stdout


def arrow(table):
    return table.to_pylist()


def of_duckdb(query):
    def read(path):
        cursor = duckdb.connect()
        cursor.execute("SET TimeZone = 'UTC'")
        result = cursor.execute(query, [str(path)])
        names = [column[0] for column in result.description]
        return [dict(zip(names, row)) for row in result.fetchall()]

    return read


def of_polars(read):
    return lambda path: read(path).to_dicts()


TEXT = pyarrow.csv.ConvertOptions(
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
    column_types={name: pyarrow.string() for name in ("address", "tags", "amount", "cancelled_at", "_rescued", "note")},
)
# Instants as the source wrote them, with zones of their own.
LINES = pyarrow.json.ParseOptions(
    explicit_schema=pyarrow.schema([(name, pyarrow.string()) for name in INSTANTS + ("cancelled_at",)])
)


def with_arrow(read):
    def table(path):
        with pyarrow.input_stream(str(path), compression={".gz": "gzip", ".zst": "zstd"}.get(path.suffix)) as stream:
            return arrow(read(stream))

    return table


def rows_of_csv(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def lines_of(data):
    return [json.loads(line) for line in data.splitlines()]


def empty_is_null(rows):
    return [{key: value for key, value in row.items() if value != ""} for row in rows]


def by_command(parse):
    def read(path):
        data = unpacked_by_command(path)
        return None if data is None else parse(data)

    return read


def avro(path):
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        assert reader.writer_schema["name"] == "Record", reader.writer_schema
        return list(reader)


READERS = {
    "parquet": {
        "pyarrow": lambda path: arrow(pyarrow.parquet.read_table(path)),
        "duckdb": of_duckdb("SELECT * FROM read_parquet(?)"),
        "polars": of_polars(polars.read_parquet),
    },
    "avro": {
        "fastavro": avro,
        "polars": of_polars(polars.read_avro),
        "duckdb": of_duckdb("SELECT * FROM read_avro(?)"),
    },
    "csv": {
        "python": lambda path: empty_is_null(rows_of_csv(plain_bytes(path))),
        "gzip or zstd": by_command(lambda data: empty_is_null(rows_of_csv(data))),
        "duckdb": of_duckdb("SELECT * FROM read_csv(?, header = true, all_varchar = true)"),
        "pyarrow": with_arrow(
            lambda stream: pyarrow.csv.read_csv(
                stream, convert_options=TEXT, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
            )
        ),
        "polars": of_polars(lambda path: polars.read_csv(path, infer_schema=False)),
    },
    "ndjson": {
        "python": lambda path: lines_of(plain_bytes(path)),
        "gzip or zstd": by_command(lines_of),
        "duckdb": of_duckdb("SELECT * FROM read_json(?, format = 'newline_delimited')"),
        "pyarrow": with_arrow(lambda stream: pyarrow.json.read_json(stream, parse_options=LINES)),
        "polars": of_polars(lambda path: polars.read_ndjson(path, infer_schema_length=None)),
    },
    "json": {
        "python": lambda path: json.loads(plain_bytes(path)),
        "gzip or zstd": by_command(json.loads),
        "duckdb": of_duckdb("SELECT * FROM read_json(?, format = 'array')"),
        "polars": of_polars(lambda path: polars.read_json(plain_bytes(path), infer_schema_length=None)),
    },
}


def left_out(reader, format, compression):
    """Why a reader does not read this, where it cannot."""
    if reader == "polars" and format == "avro" and compression == "zstd":
        return "it has no Zstandard for Avro"
    return None


def avro_of_duckdb():
    """Whether DuckDB's extension for Avro can be had here."""
    try:
        duckdb.connect().execute("INSTALL avro; LOAD avro")
        return True
    except duckdb.Error:
        return False


def parquet_cli(parq, path):
    """Rows, as parquet-cli tells them. On a busy machine its library now and then aborts while it exits: asked again then."""
    for _ in range(5):
        told = subprocess.run([parq, str(path), "--count"], capture_output=True, text=True)
        if told.returncode != -signal.SIGABRT:
            break
    assert told.returncode == 0, f"parquet-cli, {path}: {told.stderr}"
    return int("".join(letter for letter in told.stdout if letter.isdigit()))


def main():
    lake, truth, parq = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text()), sys.argv[3]
    truths = {flat: [plain(row, False) for row in truth] for flat in (False, True)}
    truths[True] = [{key: value for key, value in row.items() if value != ""} for row in truths[True]]
    missing = set() if avro_of_duckdb() else {("duckdb", "avro")}
    seen, skipped = {}, {}
    for job in sorted(lake.iterdir()):
        if job.name.startswith("."):
            continue
        format, compression, layout = job.name.split("-")
        listed = next(job.glob("orders/*/_manifest.json"))
        segments = json.loads(listed.read_text())["segments"]
        files = [listed.parent / segment["name"] for segment in segments]
        if layout == "single":
            assert [path.name.split(".")[0] for path in files] == ["orders"], files
        else:
            # Only compressed text is counted in larger steps than these files have.
            assert len(files) > 1 or compression != "none", f"{job.name}: one part is no test"
        for name, read in READERS[format].items():
            why = left_out(name, format, compression)
            if (name, format) in missing:
                why = "its extension cannot be had here"
            if why:
                skipped[f"{name}, {format} {compression}"] = why
                continue
            parts = [read(path) for path in files]
            if any(part is None for part in parts):
                continue
            wanted = truths[format == "csv"]
            rows = [plain(row, format == "csv") for part in parts for row in part]
            assert len(rows) == len(wanted), f"{name}, {job.name}: {len(rows)} rows, not {len(wanted)}"
            for given, right in zip(rows, wanted):
                assert given == right, f"{name}, {job.name}:\n{given}\n{right}"
            assert sum(row["amount"] for row in rows) == sum(row["amount"] for row in wanted)
            seen[name] = seen.get(name, 0) + 1
        if format == "parquet":
            for path, segment in zip(files, segments):
                assert parquet_cli(parq, path) == segment["rows"], f"parquet-cli, {path}"
            seen["parquet-cli"] = seen.get("parquet-cli", 0) + 1
    for what, why in sorted(skipped.items()):
        print(f"readers: not read: {what}: {why}")
    print("readers: exports read:", ", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    assert seen["pyarrow"] >= 20 and seen["fastavro"] == 8 and seen["duckdb"] >= 26 and seen["polars"] >= 26, seen


main()
