//! What a reader of published data sees: the chain that `latest.json` lists, and the rows in it.

use serde_json::Value;
use std::fs;
use std::path::Path;

/// The manifests that the `latest.json` of a stream lists, each with the rows of its (NDJSON) files.
pub fn chain(stream: &Path) -> Vec<(Value, Vec<Value>)> {
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let latest = read(&stream.join("latest.json"));
    let links = latest["manifests"].as_array().unwrap().iter().enumerate().map(|(position, entry)| {
        let path = stream.join(entry["path"].as_str().unwrap());
        let manifest = read(&path);
        assert_eq!(manifest["mode"], entry["mode"]);
        assert_eq!(manifest["chain"]["position"], position);
        let rows = manifest["segments"].as_array().unwrap().iter().flat_map(|segment| {
            let text = fs::read_to_string(path.with_file_name(segment["name"].as_str().unwrap())).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        });
        let rows = rows.collect();
        (manifest, rows)
    });
    links.collect()
}
