//! Reads Rust sources roughly: comments and texts blanked out, test modules cut off, functions found by their braces.

use std::path::{Path, PathBuf};

/// A source file of the workspace.
pub struct Source {
    /// Path from the workspace's root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// The text without comments and without the contents of texts; lines stay lines.
    pub code: String,
}

/// A function: its name, its first line (from 1) and its number of lines.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The workspace's root.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a member of the workspace").to_owned()
}

/// Every Rust source of the workspace, in order of path.
pub fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for member in ["daemon", "ctl", "tests"] {
        collect(&root.join(member), &mut found);
    }
    found.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        let path = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        Source { path, code: blank(&text), text }
    };
    found.into_iter().map(read).collect()
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

impl Source {
    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/tests/")
            || (self.path.contains("/src/")
                && self.path.rsplit_once("/src/").is_some_and(|(_, rest)| rest.contains("tests/")))
    }

    /// The code before the first test module; test modules stand last.
    pub fn main_code(&self) -> &str {
        let cut = self.code.find("#[cfg(test)]\nmod ").unwrap_or(self.code.len());
        &self.code[..cut]
    }

    /// The functions of the code outside of tests.
    pub fn functions(&self) -> Vec<Function> {
        let code = self.main_code();
        let mut functions = Vec::new();
        for (at, _) in code.match_indices("fn ") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + 3..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let (false, Some(lines)) = (name.is_empty(), body_lines(rest)) {
                functions.push(Function { name, line: code[..at].matches('\n').count() + 1, lines });
            }
        }
        functions
    }

    /// Lines outside of tests.
    pub fn main_lines(&self) -> usize {
        self.main_code().lines().count()
    }
}

/// Lines from the name of a function to its closing brace; none where it has no body.
fn body_lines(rest: &str) -> Option<usize> {
    let (mut round, mut curly) = (0i32, 0i32);
    for (at, c) in rest.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 {
                    return Some(rest[..at].matches('\n').count() + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Replaces comments and the contents of texts and characters by spaces.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end > at + 1 {
            for byte in &mut out[at..end.min(bytes.len())] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("only whole characters are replaced")
}

/// The end of the comment, text or character that starts at `at`; `at` itself if none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        rest[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map_or(bytes.len(), |n| at + from + n + what.len())
    };
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n),
        [b'/', b'*', ..] => find(2, b"*/"),
        [b'r', b'"', ..] if !in_word(bytes, at) => find(2, b"\""),
        [b'r', b'#', b'"', ..] if !in_word(bytes, at) => find(3, b"\"#"),
        [b'b', b'r', b'#', b'"', ..] => find(4, b"\"#"),
        [b'"', ..] => {
            let mut n = 1;
            while n < rest.len() && rest[n] != b'"' {
                n += if rest[n] == b'\\' { 2 } else { 1 };
            }
            at + n + 1
        }
        [b'\'', b'\\', ..] => find(3, b"'"),
        [b'\'', _, b'\'', ..] => at + 3,
        _ => at,
    }
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

#[test]
fn blanking_keeps_lines_and_drops_contents() {
    let text = "let a = \"fn x() { // }\"; // fn y\nlet b = '{'; /* fn z {\n*/ let c: &'a str = r#\"}\"#;\n";
    let code = blank(text);
    assert_eq!(code.lines().count(), text.lines().count());
    for gone in ["fn", "{", "}"] {
        assert!(!code.contains(gone), "{gone} in {code}");
    }
    assert!(code.contains("let c: &'a str"));
}

#[test]
fn functions_are_measured() {
    let text = "fn a() {\n    b(|x| { x });\n}\ntrait T { fn none(&self); }\nasync fn c(x: [u8; 2]) -> u8 { 1 }\n#[cfg(test)]\nmod tests {\n fn d() {}\n}\n";
    let source = Source { path: "daemon/src/x.rs".into(), text: text.into(), code: blank(text) };
    let found: Vec<_> = source.functions().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("a".into(), 1, 3), ("c".into(), 5, 1)]);
    assert_eq!(source.main_lines(), 5);
}
