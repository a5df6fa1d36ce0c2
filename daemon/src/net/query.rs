//! Takes parameters out of a URL's query and leaves every other byte of it as it is.

use url::Url;

/// Removes the parameters whose decoded name `gone` matches.
pub fn strip(url: &mut Url, gone: impl Fn(&str) -> bool) {
    let Some(query) = url.query() else { return };
    let stays = |pair: &&str| url::form_urlencoded::parse(pair.as_bytes()).next().is_none_or(|(name, _)| !gone(&name));
    let kept: Vec<&str> = query.split('&').filter(stays).collect();
    if kept.len() < query.split('&').count() {
        let kept = kept.join("&");
        url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
    }
}

/// Whether the query has a parameter of this name.
pub fn has(url: &Url, name: &str) -> bool {
    url.query_pairs().any(|(key, _)| key == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_goes() {
        for (before, after) in [
            ("https://a/?k=1&b=%20+x&c", "https://a/?b=%20+x&c"),
            ("https://a/?b=1&%6b=2&k", "https://a/?b=1"),
            ("https://a/?k=1", "https://a/"),
            ("https://a/?b=k&kk=%2F", "https://a/?b=k&kk=%2F"),
            ("https://a/", "https://a/"),
        ] {
            let mut url = Url::parse(before).unwrap();
            strip(&mut url, |name| name == "k");
            assert_eq!(url.as_str(), after);
            assert!(!has(&url, "k"));
        }
    }
}
