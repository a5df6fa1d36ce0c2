//! Filling and masking.

use super::*;
use proptest::prelude::*;

fn secrets(values: &[(&str, &str)]) -> Secrets {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
    Secrets::new(values.collect(), Path::new("auth.env"))
}

fn filled(text: &str) -> Result<String, String> {
    secrets(&[("A", "one"), ("B_2", "t${A}wo")]).resolve_text(text).map(|secret| secret.expose().to_owned())
}

#[test]
fn placeholders_are_filled_once() {
    for (text, expected) in [
        ("plain $ and $5", "plain $ and $5"),
        ("${A}", "one"),
        ("Bearer ${A}-${B_2}!", "Bearer one-t${A}wo!"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("", ""),
    ] {
        assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_filled_is_named() {
    assert_eq!(filled("${NOPE}").unwrap_err(), "fill ${NOPE}: \"NOPE\" is not in auth.env");
    for bad in ["${", "${A", "${}", "${a b}", "${1A}", "${A${B_2}}", "${{ param.x }}"] {
        let told = filled(bad).unwrap_err();
        assert!(told.starts_with("read a text with ${NAME}: "), "{bad}: {told}");
    }
}

#[test]
fn a_rendered_value_cannot_ask_for_a_secret() {
    let secrets = secrets(&[("A", "{{ x }}")]);
    let render = |text: &str| Ok(text.replace("{{ x }}", "${A}"));
    assert_eq!(secrets.resolve_with("{{ x }}/${A}", render).unwrap().expose(), "${A}/{{ x }}");
}

#[test]
fn nothing_shows_a_value() {
    let secrets = secrets(&[("TOKEN", "hunter2")]);
    assert!(!format!("{secrets:?}").contains("hunter2"));
    assert!(format!("{secrets:?}").contains("TOKEN"));
}

#[test]
fn short_values_stay_and_overlapping_ones_go_longest_first() {
    let secrets = secrets(&[("A", "abc"), ("B", "token"), ("C", "token-long")]);
    assert_eq!(secrets.mask("abc token token-long"), "abc *** ***");
}

#[test]
fn the_file_is_chosen_in_order() {
    use std::os::unix::fs::PermissionsExt as _;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, name) in [(&one, "ONE"), (&two, "TWO")] {
        let path = dir.path().join("auth.env");
        std::fs::write(&path, format!("{name}=1\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let explicit = one.path().join("auth.env");
    let names = |result: Result<Secrets, Problems>| result.map(|secrets| secrets.names().collect::<Vec<_>>().join(","));
    assert_eq!(names(Secrets::load(None, Some(two.path()))), Ok("TWO".into()), "its mode is systemd's business");
    assert!(Secrets::load(Some(&explicit), Some(two.path())).is_err(), "its mode is ours");
    std::fs::set_permissions(&explicit, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(names(Secrets::load(Some(&explicit), Some(two.path()))), Ok("ONE".into()));
    assert!(Secrets::load(Some(&one.path().join("missing")), None).is_err());
    std::fs::remove_file(&explicit).unwrap();
    std::os::unix::fs::symlink("nowhere", &explicit).unwrap();
    assert!(Secrets::load(None, Some(one.path())).is_err(), "a link that leads nowhere is no missing file");
}

proptest! {
    #[test]
    fn any_text_comes_apart(text in r"([a${}]|\$\{A\}|\$\$\{){0,20}") {
        if let Ok(found) = parts(&text) {
            let back = found.iter().map(|part| match part {
                Part::Text("${") => "$${".to_owned(),
                Part::Text(text) => (*text).to_owned(),
                Part::Name(name) => format!("${{{name}}}"),
            });
            prop_assert_eq!(back.collect::<String>(), text);
        }
    }

    /// A secret is masked as it is, percent-encoded, in JSON, and within the base64 of a longer text.
    #[test]
    fn every_form_is_masked(value in "[!-~é]{8,30}", before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
        use base64::engine::general_purpose::STANDARD;
        let secrets = secrets(&[("A", &value)]);
        let plain = secrets.mask(&format!("{before}{value}{after}"));
        prop_assert!(!plain.contains(&value));
        let json = secrets.mask(&serde_json::Value::from(format!("{before}{value}")).to_string());
        prop_assert!(!json.contains(&value));
        let form = STANDARD.encode(format!("{before}:{value}"));
        let masked = secrets.mask(&form);
        prop_assert!(masked.contains("***"), "{} in {}", value, form);
    }
}
