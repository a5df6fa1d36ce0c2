//! The parser of auth.env and the checks of its file.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

fn values(text: &str) -> Vec<(String, String)> {
    let values = parse(text, "auth.env").map_err(|problems| problems.to_string()).unwrap();
    values.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
}

fn value(text: &str) -> String {
    values(text).pop().unwrap().1
}

#[test]
fn values_are_read_as_written() {
    for (line, expected) in [
        ("A=b", "b"),
        ("A=b=c==", "b=c=="),
        ("  A =  b c  ", "b c"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=", ""),
        ("A=   # nothing", ""),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=$HOME `id` $(id)", "$HOME `id` $(id)"),
        ("A=it's", "it's"),
        (r"A=back\slash", r"back\slash"),
        (r#"A='a "b" \n $c' "#, r#"a "b" \n $c"#),
        (r#"A="a 'b' \"c\" \\ \$ \` \n\r\t#" # comment"#, "a 'b' \"c\" \\ $ ` \n\r\t#"),
        ("A=\"\"", ""),
        ("A=é€\r", "é€"),
        ("A=b\tc", "b\tc"),
        ("exported=1", "1"),
    ] {
        assert_eq!(value(line), expected, "{line}");
    }
    assert_eq!(values("\u{feff}# c\r\n\r\nA=1\r\n  # d\nB='2'").len(), 2);
}

#[test]
fn every_mistake_is_told_with_its_line_and_without_a_value() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/authenv");
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "env") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let told = match read(&path, true).and_then(|text| parse(&text, name)) {
            Ok(values) => values.keys().cloned().collect::<Vec<_>>().join("\n"),
            Err(problems) => problems.to_string().replace(&*path.to_string_lossy(), name),
        };
        assert!(!told.contains("hunter2"), "{name} shows a value: {told}");
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&expected, format!("{told}\n")).unwrap();
        }
        assert_eq!(format!("{told}\n"), std::fs::read_to_string(&expected).unwrap_or_default(), "{name}");
    }
    assert!(seen >= 3);
}

fn file(dir: &Path, mode: u32) -> PathBuf {
    let path = dir.join("auth.env");
    std::fs::write(&path, "A=hunter2\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn only_a_closed_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o400, 0o700] {
        assert_eq!(read(&file(dir.path(), mode), false).unwrap(), "A=hunter2\n");
    }
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o610] {
        let path = file(dir.path(), mode);
        let told = read(&path, false).unwrap_err().to_string();
        assert!(told.contains(&format!("mode {mode:04o}")) && told.contains("run: chmod 0600 /"), "{told}");
        assert!(read(&path, true).is_ok(), "inside the credentials directory, modes are systemd's business");
    }
}

#[test]
fn owner_and_mode_are_told_together() {
    let own = nix::unistd::geteuid().as_raw();
    let path = Path::new("/etc/it's/auth.env");
    assert_eq!(exposure(path, own, 0o100600), []);
    assert_eq!(exposure(path, 0, 0o100600), []);
    let told: Vec<String> = exposure(path, own + 1, 0o100644).iter().map(Problem::to_string).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].contains(&format!("belongs to uid {}", own + 1)), "{told:?}");
    assert!(told[0].contains(r"chown root:root '/etc/it'\''s/auth.env'"), "{told:?}");
}

#[test]
fn a_link_counts_by_what_it_leads_to_and_a_pipe_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let target = file(dir.path(), 0o600);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(read(&link, false).is_ok());
    file(dir.path(), 0o644);
    assert!(read(&link, false).unwrap_err().to_string().contains("mode 0644"));
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for path in [pipe.as_path(), dir.path()] {
        assert!(read(path, false).unwrap_err().to_string().contains("not a regular file"));
    }
}

#[test]
fn a_large_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), 0o600);
    std::fs::write(&path, vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
    assert!(read(&path, false).unwrap_err().to_string().contains("larger than"));
}

/// A value in double quotes.
fn quoted(value: &str) -> String {
    let escape = |c: char| match c {
        '\\' | '"' | '$' | '`' => format!("\\{c}"),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        c => c.into(),
    };
    format!("\"{}\"", value.chars().map(escape).collect::<String>())
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        let _ = parse(&text, "f");
    }

    #[test]
    fn lines_like_these_get_an_answer(text in r"(export |[A-C=#'\x22\\$ \t\r\n]){0,40}") {
        if let Err(problems) = parse(&text, "f") {
            prop_assert!(problems.list().iter().all(|problem| problem.line > 0));
        }
    }

    #[test]
    fn quoted_values_read_back(value in r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]{0,40}") {
        prop_assert_eq!(values(&format!("# x\nA={}  # y\r\nB=1\n", quoted(&value)))[0].1.clone(), value.clone());
        if !value.contains(['\'', '\n', '\r']) {
            prop_assert_eq!(values(&format!("A = '{value}'")), [("A".to_owned(), value)]);
        }
    }
}
