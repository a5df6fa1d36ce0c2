//! The YAML of a draft: a whole configuration with its comments.

use super::draft::{Draft, Stream};
use super::words::{line, scalar};
use crate::base::ids::MAX_NAME;
use saas_export_api::plural;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Exports that are written; streams that need other parameters belong to none.
const MAX_EXPORTS: usize = 100;

/// The text. Writing into a string cannot fail.
pub fn yaml(draft: &Draft) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# Made from the OpenAPI document \"{}\".", draft.title.replace('"', "'"));
    text.push_str("# Lines with `# check:` hold guesses, or what the document does not say.\n");
    text.push_str("# Then: saas-export-daemon --check-config, saas-export-daemon check\n\nversion: 1\n\nsources:\n");
    let _ = writeln!(text, "  {}:\n    rest:", scalar(&draft.source));
    for check in &draft.checks {
        let _ = writeln!(text, "      # check: {check}");
    }
    let _ = writeln!(text, "      base_url: {}", scalar(&draft.base_url));
    credentials(&mut text, draft);
    text.push_str("      # check: how many requests does the API allow?\n");
    text.push_str("      # rate: { per_second: 5, concurrency: 4 }\n      streams:\n");
    let (good, refused): (Vec<&Stream>, Vec<&Stream>) =
        draft.streams.iter().partition(|stream| stream.refused.is_none());
    if good.is_empty() {
        text.push_str("        {}\n");
    }
    for stream in &good {
        let _ = writeln!(text, "        # {}\n        {}:", stream.about, scalar(&stream.name));
        for line in &stream.lines {
            let _ = writeln!(text, "          {line}");
        }
    }
    for stream in refused {
        let why = stream.refused.as_deref().unwrap_or_default();
        let _ = writeln!(text, "        # check: left out ({why}): {}\n        # {}:", stream.about, stream.name);
        for line in &stream.lines {
            let _ = writeln!(text, "        #   {line}");
        }
    }
    if draft.more > 0 {
        let _ = writeln!(text, "        # check: {} collections more are in the document", draft.more);
    }
    text.push_str("\ndestinations:\n  lake: { local: { root: /srv/exports } }   # check: where should the files go?\n");
    exports(&mut text, draft, &good);
    text
}

fn credentials(text: &mut String, draft: &Draft) {
    for check in &draft.auth.checks {
        let _ = writeln!(text, "      # check: {}", line(check));
    }
    match (&draft.auth.line, &draft.auth_refused) {
        (Some(line), None) => {
            let _ = writeln!(text, "      {line}");
        }
        (Some(line), Some(why)) => {
            let _ = writeln!(text, "      # check: {why}\n      # {line}");
        }
        (None, _) => {}
    }
}

/// An export for each set of parameters that streams need, and the secrets.
fn exports(text: &mut String, draft: &Draft, streams: &[&Stream]) {
    let mut groups: BTreeMap<&BTreeSet<String>, Vec<&str>> = BTreeMap::new();
    for stream in streams {
        groups.entry(&stream.params).or_default().push(&stream.name);
    }
    // The largest first, and before all the one that needs nothing.
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(params, names)| (!params.is_empty(), std::cmp::Reverse(names.len())));
    text.push_str(if groups.is_empty() { "\nexports: {}\n" } else { "\nexports:\n" });
    let mut taken = BTreeSet::new();
    for (params, names) in groups.iter().take(MAX_EXPORTS) {
        let words: Vec<&str> =
            std::iter::once(draft.source.as_str()).chain(params.iter().map(String::as_str)).collect();
        let mut name: String = words.join("-").chars().take(MAX_NAME - 3).collect();
        while !taken.insert(name.clone()) {
            name.push('x');
        }
        let _ = writeln!(text, "  {}:\n    source: {}", scalar(&name), scalar(&draft.source));
        let _ = writeln!(text, "    streams:\n      - {}", names.join("\n      - "));
        if !params.is_empty() {
            let params: Vec<String> = params.iter().map(|param| format!("{param}: {{}}")).collect();
            let _ = writeln!(text, "    # exportctl run {name} --param NAME=VALUE");
            let _ = writeln!(text, "    params: {{ {} }}", params.join(", "));
        }
        text.push_str("    to: [lake]\n    format: { parquet: {} }\n");
    }
    if groups.len() > MAX_EXPORTS {
        let left: usize = groups.iter().skip(MAX_EXPORTS).map(|(_, names)| names.len()).sum();
        let _ =
            writeln!(text, "  # check: in no export for want of other parameters: {left} {}", plural(left, "stream"));
    }
    if !draft.auth.secrets.is_empty() && draft.auth_refused.is_none() {
        text.push_str("\n# auth.env (root:root 0600) needs:\n");
        for secret in &draft.auth.secrets {
            let _ = writeln!(text, "#   {secret}=");
        }
    }
}
