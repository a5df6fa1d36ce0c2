//! Keeps secrets out of texts that come from elsewhere, however the other side wrote them back.

use crate::config::secrets;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Below this many bytes a secret is not replaced but the whole text dropped: a mask over each `a` tells what it hides.
const SHORTEST: usize = 6;

/// Characters of a server's own words that a message repeats.
pub const MAX_SAID: usize = 200;

/// What stands where a secret stood.
const HIDDEN: &str = "[secret]";

/// Secrets learned at run time that are remembered; older ones have been replaced many times over.
const MAX_LEARNED: usize = 32;

/// Secrets that come to be known while requests run, such as access tokens: shared by all masks of a source.
#[derive(Default)]
pub struct Learned(RwLock<VecDeque<Vec<String>>>);

impl fmt::Debug for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Learned")
    }
}

impl Learned {
    /// Adds a secret; the oldest is forgotten where there are too many.
    pub fn add(&self, secret: &str) {
        let forms = forms(secret);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&forms) {
            all.push_back(forms);
        }
        if all.len() > MAX_LEARNED {
            all.pop_front();
        }
    }

    /// The forms that a text holds.
    fn found(&self, text: &str) -> Vec<String> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().flatten().filter(|needle| text.contains(needle.as_str())).cloned().collect()
    }
}

/// Every form in which the secrets of a source could come back.
#[derive(Clone, Default)]
pub struct Mask {
    needles: Vec<String>,
    /// Those of `needles` that no URL may hold.
    keys: Vec<String>,
    learned: Vec<Arc<Learned>>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms)", self.needles.len())
    }
}

impl Mask {
    /// Adds a secret that must show up nowhere.
    pub fn add(&mut self, secret: &str) {
        self.hide(secret);
        self.keys.extend(forms(secret).into_iter().filter(|form| form.len() >= SHORTEST));
    }

    /// Adds what another mask hides, also what that will learn.
    pub fn join(&mut self, other: &Self) {
        self.needles.extend_from_slice(&other.needles);
        self.keys.extend_from_slice(&other.keys);
        self.learned.extend_from_slice(&other.learned);
        self.sort();
    }

    /// Hides from now on what `learned` holds.
    pub fn learn_from(&mut self, learned: Arc<Learned>) {
        self.learned.push(learned);
    }

    /// Adds a value that texts must not show but URLs may: a user name is part of many a path. A short one (`api`, `me`) is
    /// no secret and part of many a word: it is not hidden, for it would take every message with it.
    pub fn add_name(&mut self, name: &str) {
        if name.len() >= SHORTEST {
            self.hide(name);
        }
    }

    /// Adds a user name and password (RFC 7617), alone and together.
    pub fn add_basic(&mut self, user: &str, password: &str) {
        self.add_name(user);
        if !password.is_empty() {
            self.add(password);
            self.add(&format!("{user}:{password}"));
        }
    }

    fn hide(&mut self, value: &str) {
        self.needles.extend(forms(value));
        self.sort();
    }

    fn sort(&mut self) {
        // The longest first: a secret may contain another.
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        self.needles.dedup();
    }

    /// Whether `url` holds a secret that is long enough to be recognised.
    pub fn finds(&self, url: &str) -> bool {
        let learned = || self.learned.iter().flat_map(|learned| learned.found(url));
        self.keys.iter().any(|needle| url.contains(needle.as_str())) || learned().any(|form| form.len() >= SHORTEST)
    }

    /// One line of at most `most` characters of `text`: no secrets, no control characters. Empty where even that would tell.
    pub fn clean(&self, text: &str, most: usize) -> String {
        let own = self.needles.iter().filter(|needle| text.contains(needle.as_str())).cloned();
        let mut found: Vec<String> = own.chain(self.learned.iter().flat_map(|learned| learned.found(text))).collect();
        found.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        let mut text = text.to_owned();
        // Again for each: a shorter one may have been part of a longer that is gone by now.
        for needle in found {
            if text.contains(&needle) {
                if needle.len() < SHORTEST {
                    return String::new();
                }
                text = text.replace(&needle, HIDDEN);
            }
        }
        let visible = text.chars().map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c });
        let one_line: String = visible.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
        if one_line.chars().count() <= most {
            return one_line;
        }
        one_line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// The value, and the ways in which it could be written back. One too short for the latter is only looked for as it is.
fn forms(value: &str) -> Vec<String> {
    let mut forms = secrets::needles(value);
    if !value.is_empty() {
        forms.push(value.to_owned());
        forms.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>().replace('+', "%20"));
    }
    forms
}

/// Characters that make a terminal show text in another order than it is.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    #[test]
    fn no_form_of_a_secret_passes() {
        let mut mask = Mask::default();
        mask.add("p4ss word/+");
        for text in ["p4ss word/+", "cDRzcyB3b3JkLys=", "p4ss+word%2F%2B", "p4ss%20word%2F%2B"] {
            assert!(mask.finds(text), "{text}");
            let clean = mask.clean(&format!("no: {text}!"), 200);
            assert!(clean.starts_with("no: [secret]"), "{clean}");
        }
    }

    #[test]
    fn a_user_name_may_stand_in_a_url() {
        let mut mask = Mask::default();
        mask.add_name("AC0123456789");
        assert!(!mask.finds("https://api.example/Accounts/AC0123456789/Calls"));
        assert_eq!(mask.clean("no account AC0123456789", 200), "no account [secret]");
    }

    #[test]
    fn a_short_user_name_does_not_take_the_servers_words_away() {
        let mut mask = Mask::default();
        mask.add_name("api");
        mask.add_name("");
        assert_eq!(mask.clean("the api key has expired", 200), "the api key has expired");
    }

    #[test]
    fn a_secret_across_the_cut_does_not_show_its_head() {
        let mut mask = Mask::default();
        mask.add("canary-canary");
        assert_eq!(mask.clean("abcdef canary-canary", 10), "abcdef [s…");
    }

    #[test]
    fn what_is_learned_later_is_hidden_by_every_mask() {
        let learned = Arc::new(Learned::default());
        let (mut token_server, mut api) = (Mask::default(), Mask::default());
        token_server.add("client-secret");
        token_server.learn_from(learned.clone());
        api.join(&token_server);
        assert_eq!(api.clean("token access-token-1", 200), "token access-token-1");
        learned.add("access-token-1");
        for mask in [&token_server, &api] {
            assert_eq!(mask.clean("access-token-1 client-secret", 200), "[secret] [secret]");
            assert!(mask.finds("https://a.example/?t=access-token-1"));
        }
        (0..MAX_LEARNED).for_each(|n| learned.add(&format!("other-token-{n:03}")));
        assert!(!api.finds("access-token-1") && api.finds("other-token-000"), "the oldest is forgotten");
    }

    #[test]
    fn short_secrets_drop_the_text() {
        let mut mask = Mask::default();
        mask.add("abc");
        assert_eq!(mask.clean("the key abc is wrong", 200), "");
    }

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(Mask::default().clean("a\u{1b}[31m\r\nb\u{202e}c", 200), "a [31m b c");
    }

    proptest! {
        /// A secret is found as it is, percent-encoded, in JSON, and within the base64 of a longer text.
        #[test]
        fn every_form_is_masked(value in "[!-~é]{8,30}", before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
            let mut mask = Mask::default();
            mask.add(&value);
            let json = serde_json::Value::from(format!("{before}{value}")).to_string();
            let base64 = STANDARD.encode(format!("{before}:{value}"));
            let percent: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            for text in [format!("{before}{value}{after}"), json, base64, percent] {
                prop_assert!(mask.clean(&text, 500).contains(HIDDEN), "{value} in {text}");
            }
        }
    }
}
