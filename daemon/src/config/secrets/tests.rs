//! Filling, and what is said where that cannot be done.

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
fn nothing_shows_a_value() {
    let secrets = secrets(&[("TOKEN", "hunter2")]);
    assert!(!format!("{secrets:?}").contains("hunter2"));
    assert!(format!("{secrets:?}").contains("TOKEN"));
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

#[test]
fn what_systemd_handed_over_is_corrected_at_its_origin() {
    let config = super::super::parse(
        "{version: 1, destinations: {}, exports: {}, sources: {s: {rest: {base_url: 'https://a.example', \
         auth: {bearer: {token: '${NOPE}'}}, query: {a: '${EMPTY}'}, streams: {x: {path: /x}}}}}}",
        "f",
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("auth.env"), "EMPTY=\n").unwrap();
    let hints = |secrets: &Secrets| -> Vec<String> {
        check(&config, secrets).into_iter().map(|mistake| mistake.hint.unwrap()).collect()
    };
    let advice = hints(&Secrets::load(None, Some(dir.path())).unwrap());
    assert_eq!(
        advice,
        [
            "add the line NOPE=… to /etc/export/auth.env, then systemctl restart saas-export-daemon",
            "give it a value in /etc/export/auth.env, then systemctl restart saas-export-daemon",
        ]
    );
    assert_eq!(hints(&secrets(&[("EMPTY", "")]))[0], "add the line NOPE=… to auth.env");
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
}
