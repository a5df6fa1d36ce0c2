"""Compares a published stream with the truth, record by record: follows latest.json, reads every manifest of the chain in
order, keeps the newest record of each key, and says what differs. Knows nothing of how the files came about.

    compare.py NAME STREAM_DIRECTORY TRUTH.ndjson --key FIELD [--whole] [--tombstone FIELD] [--moved KEYS.json]

A key of a truth record is a field, or a path with dots. --whole: the record has no other fields. --tombstone: a record in
which this field is true deletes its key. --moved: the chain has an incremental manifest at its end, and its records are
exactly those with these keys."""

import argparse
import datetime
import hashlib
import json
import os
import sys

arguments = argparse.ArgumentParser()
arguments.add_argument("name")
arguments.add_argument("stream")
arguments.add_argument("truth")
arguments.add_argument("--key", required=True)
arguments.add_argument("--whole", action="store_true")
arguments.add_argument("--tombstone")
arguments.add_argument("--moved")
options = arguments.parse_args()
what = "/".join(os.path.normpath(options.stream).split(os.sep)[-3:])
MISSING = object()


def fail(text):
    sys.exit(f"{options.name}: {what}: DIFFERS: {text}")


def dig(record, path):
    if path in record:
        return record[path]
    for part in path.split("."):
        if not isinstance(record, dict) or part not in record:
            return MISSING
        record = record[part]
    return record


def restore(record):
    """Puts the values that did not fit their column back to where they were."""
    for path, text in json.loads(record.pop("_rescued", None) or "{}").items():
        at, *rest = path.split(".")
        into = record
        for part in rest:
            into, at = into.setdefault(at, {}), part
        into[at] = json.loads(text)
    return record


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def same(found, wanted, columns):
    if not columns:
        return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
    if found is MISSING or found is None:
        return wanted is None or wanted == {}
    if isinstance(found, datetime.datetime):
        return isinstance(wanted, str) and found == instant(wanted)
    if isinstance(found, datetime.date):
        return found.isoformat() == wanted
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(same(found.get(k), wanted.get(k), True) for k in found.keys() | wanted.keys())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(same(f, w, True) for f, w in zip(found, wanted))
    return found == wanted


def decode(value, kind):
    """The value of a column of JSON text, at any depth."""
    if value is None:
        return None
    if kind == "json":
        return json.loads(value)
    if "list" in kind:
        return [decode(item, kind["list"]) for item in value]
    if "struct" in kind:
        return {field["name"]: decode(value[field["name"]], field["type"]) for field in kind["struct"]}
    return value


def rows(path, schema):
    if path.endswith(".ndjson"):
        with open(path, encoding="utf-8") as lines:
            yield from map(json.loads, lines)
        return
    import pyarrow.parquet as pq

    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    for row in pq.read_table(path).to_pylist():
        yield restore({name: decode(value, kinds.get(name, "string")) for name, value in row.items()})


def files(manifest_path):
    with open(manifest_path, "rb") as file:
        manifest = json.load(file)
    for segment in manifest["segments"]:
        path = os.path.join(os.path.dirname(manifest_path), segment["name"])
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != segment["sha256"]:
            fail(f"{path} is not the file of its manifest")
        yield path, segment["rows"], manifest["schema"]


latest = json.load(open(os.path.join(options.stream, "latest.json"), "rb"))
columns = latest["manifests"] and "columns" in what
if columns:
    try:
        import pyarrow
    except ImportError:
        print(f"{options.name}: {what}: not compared (no pyarrow)")
        sys.exit()

records, moved = {}, {}
for entry in latest["manifests"]:
    moved = {}
    for path, count, schema in files(os.path.join(options.stream, entry["path"])):
        before = len(moved)
        for record in rows(path, schema):
            key = dig(record, options.key)
            if key is MISSING or key in moved:
                fail(f"the record {key} is there twice, or without a key, in {entry['path']}")
            moved[key] = record
        if len(moved) - before != count:
            fail(f"{path} has {len(moved) - before} records, its manifest says {count}")
    records.update(moved)
if options.tombstone:
    records = {key: record for key, record in records.items() if record.get(options.tombstone) is not True}

truth = {}
with open(options.truth, encoding="utf-8") as lines:
    for line in lines:
        record = json.loads(line)
        truth[record[options.key]] = record
if not truth:
    fail("the truth is empty")

missing, surplus = truth.keys() - records.keys(), records.keys() - truth.keys()
if missing or surplus:
    fail(f"{len(missing)} records missing (e.g. {list(missing)[:3]}), {len(surplus)} too many (e.g. {list(surplus)[:3]})")
for key, wanted in truth.items():
    record = records[key]
    for path, value in wanted.items():
        found = dig(record, path)
        if not same(found, value, columns):
            fail(f"{options.key} {key}: {path} is {'missing' if found is MISSING else repr(found)}, should be {value!r}")
    more = {k for k, v in record.items() if not (columns and v is None)} - wanted.keys()
    if options.whole and more:
        fail(f"{options.key} {key}: has fields that the source has not: {sorted(more)}")

modes = [entry["mode"] for entry in latest["manifests"]]
if options.moved:
    keys = set(json.load(open(options.moved, encoding="utf-8")))
    if len(modes) < 2 or modes[-1] != "incremental":
        fail(f"the chain is {modes}, and should end with an incremental manifest")
    if moved.keys() != keys:
        fail(f"{len(moved)} records moved, {len(keys)} had changed; not changed {list(moved.keys() - keys)[:3]}, "
             f"not moved {list(keys - moved.keys())[:3]}")
shape = f", {len(moved)} of them moved by the last of {len(modes)} manifests" if len(modes) > 1 else ""
print(f"{options.name}: {what}: {len(truth)} records, each as in the source{shape}")
