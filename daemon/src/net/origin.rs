//! Decides which URLs a source may be led to, and whether credentials may travel there.
//!
//! The same parsed `Url` is judged and then requested, so that no second parser can read it differently.

use crate::base::error::{Classify, ErrorClass};
use url::Url;

/// Scheme, host and port (RFC 6454): what credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// What may travel with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The configured origin: credentials travel.
    Home,
    /// A listed other origin: nothing secret travels.
    Foreign,
}

/// Why a URL is not followed. Only scheme, host and port are ever named, never a path or a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is no http(s) URL at all.
    #[error("the URL is not an absolute or relative http(s) URL")]
    NotHttp,
    /// Backslashes and control characters are read differently by different programs.
    #[error("the URL has a backslash or a control character")]
    Ambiguous,
    /// `https://user@host/`.
    #[error("the URL to {0} has a user name or password in it")]
    UserInfo(String),
    /// From https to http.
    #[error("the URL leads from https to {0}")]
    Downgrade(String),
    /// Another origin that the configuration does not list.
    #[error("the URL leads to {0}, which is neither the origin of `base_url` nor in `allowed_origins`")]
    NotAllowed(String),
    /// The server wrote a credential of ours into a URL of another origin.
    #[error("the URL leads to another origin and has a credential of ours in it")]
    Credential,
    /// The body of the request has a credential in it, and this is another origin.
    #[error("the URL leads to {0}, another origin, and the request's body has a credential in it")]
    Body(String),
}

impl Classify for OriginError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

impl Origin {
    /// The origin of a URL; `None` unless it is http or https with a host.
    pub fn of(url: &Url) -> Option<Self> {
        let scheme = url.scheme();
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
        Some(Self { scheme: scheme.to_owned(), host, port: url.port_or_known_default()? })
    }

    /// Reads `https://host[:port]`: nothing behind the port but one slash.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        (bare && check_text(text).is_ok() && !has_userinfo(text, &url)).then(|| Self::of(&url)).flatten()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// The configured origin and the ones listed beside it.
#[derive(Clone, Debug)]
pub struct OriginRule {
    home: Origin,
    others: Vec<Origin>,
}

impl OriginRule {
    /// The rule of a source.
    pub fn new(home: Origin, others: Vec<Origin>) -> Self {
        Self { home, others }
    }

    /// Whether any origin of the rule speaks TLS.
    pub fn needs_tls(&self) -> bool {
        std::iter::once(&self.home).chain(&self.others).any(|origin| origin.scheme == "https")
    }

    /// What may travel to `url`.
    pub fn reach(&self, url: &Url) -> Result<Reach, OriginError> {
        let origin = Origin::of(url).ok_or(OriginError::NotHttp)?;
        if origin == self.home {
            Ok(Reach::Home)
        } else if self.others.contains(&origin) {
            Ok(Reach::Foreign)
        } else {
            Err(OriginError::NotAllowed(origin.to_string()))
        }
    }

    /// Resolves a redirect's or next page's `reference` against the URL it came from (RFC 3986, section 5), and judges it.
    pub fn follow(&self, from: &Url, reference: &str) -> Result<(Url, Reach), OriginError> {
        let reference = reference.trim_matches(' ');
        check_text(reference)?;
        let mut url = from.join(reference).map_err(|_| OriginError::NotHttp)?;
        url.set_fragment(None);
        let origin = Origin::of(&url).ok_or(OriginError::NotHttp)?;
        if has_userinfo(reference, &url) {
            return Err(OriginError::UserInfo(origin.to_string()));
        }
        if from.scheme() == "https" && origin.scheme == "http" {
            return Err(OriginError::Downgrade(origin.to_string()));
        }
        let reach = self.reach(&url)?;
        Ok((url, reach))
    }
}

fn check_text(text: &str) -> Result<(), OriginError> {
    let head = text.split(['?', '#']).next().unwrap_or_default();
    if head.contains('\\') || text.chars().any(char::is_control) {
        return Err(OriginError::Ambiguous);
    }
    Ok(())
}

/// Also an empty user name (`https://@host`), which the parser drops without a trace.
fn has_userinfo(text: &str, url: &Url) -> bool {
    let head = text.split(['?', '#']).next().unwrap_or_default();
    let authority = head.split_once("//").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let absolute = head.starts_with("//") || head.split_once("//").is_some_and(|(scheme, _)| scheme.ends_with(':'));
    !url.username().is_empty() || url.password().is_some() || (absolute && authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> OriginRule {
        let origin = |text| Origin::parse(text).unwrap();
        OriginRule::new(
            origin("https://api.shop.example"),
            vec![origin("https://cdn.shop.example"), origin("http://plain.example")],
        )
    }

    fn follow(reference: &str) -> Result<(String, Reach), OriginError> {
        let from = Url::parse("https://api.shop.example/v2/orders?page=1").unwrap();
        rule().follow(&from, reference).map(|(url, reach)| (url.into(), reach))
    }

    #[test]
    fn home_is_scheme_host_and_port() {
        for (reference, url) in [
            ("?page=2", "https://api.shop.example/v2/orders?page=2"),
            ("items?page=2", "https://api.shop.example/v2/items?page=2"),
            ("/v3/x", "https://api.shop.example/v3/x"),
            ("../x", "https://api.shop.example/x"),
            ("//api.shop.example/x", "https://api.shop.example/x"),
            ("https://API.shop.example:443/x#f", "https://api.shop.example/x"),
            (" https://api.shop.example/x ", "https://api.shop.example/x"),
            ("/x?q=a\\b", "https://api.shop.example/x?q=a\\b"),
            ("/x?mail=a@b.example", "https://api.shop.example/x?mail=a@b.example"),
            ("/users/a@b.example", "https://api.shop.example/users/a@b.example"),
            ("/go//a@b/x", "https://api.shop.example/go//a@b/x"),
        ] {
            assert_eq!(follow(reference), Ok((url.to_owned(), Reach::Home)), "{reference}");
        }
    }

    #[test]
    fn other_origins_are_refused() {
        for reference in [
            "https://evil.example/x",
            "//evil.example/x",
            "https:/evil.example/x/../..//evil.example",
            "https://api.shop.example:8443/x",
            "https://api.shop.example./x",
            "https://api.shop.example.evil.example/",
            "https://xn--api-shop-9za.example/",
            "https://äpi.shop.example/",
            "https://api。evil.example/",
            "https://[::1]/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let found = follow(reference);
            if reference.starts_with("https:/evil") {
                // One slash is a path of the same origin for every reader of the URL standard.
                assert_eq!(found.unwrap().1, Reach::Home);
            } else {
                assert!(matches!(found, Err(OriginError::NotAllowed(_))), "{reference}: {found:?}");
            }
        }
    }

    #[test]
    fn userinfo_backslash_and_downgrade_are_refused() {
        for reference in [
            "https://api.shop.example@evil.example/",
            "https://user:pass@api.shop.example/",
            "https://@api.shop.example/",
            "//@evil.example/",
            "https:user@evil.example",
        ] {
            let found = follow(reference);
            let refused = matches!(found, Err(OriginError::UserInfo(_)));
            let path = matches!(&found, Ok((url, Reach::Home)) if url.starts_with("https://api.shop.example/"));
            assert!(refused || (path && !reference.contains("//")), "{reference}: {found:?}");
        }
        for reference in ["\\\\evil.example/", "/\\evil.example/", "https:\\\\evil.example", "/a\tb", "/a\nb", "\u{0}"]
        {
            assert_eq!(follow(reference), Err(OriginError::Ambiguous), "{reference:?}");
        }
        for reference in ["http://api.shop.example/x", "http://plain.example/x", "http://api.shop.example:443/"] {
            assert!(matches!(follow(reference), Err(OriginError::Downgrade(_))), "{reference}");
        }
        for reference in ["ftp://api.shop.example/", "javascript:alert(1)", "data:,x", "file:///etc/passwd"] {
            assert_eq!(follow(reference), Err(OriginError::NotHttp), "{reference}");
        }
    }

    #[test]
    fn listed_origins_get_no_credentials() {
        assert_eq!(follow("https://cdn.shop.example/x").unwrap().1, Reach::Foreign);
        assert!(follow("https://cdn.shop.example:444/x").is_err());
    }

    #[test]
    fn international_names_are_compared_encoded() {
        let rule = OriginRule::new(Origin::parse("https://bücher.example").unwrap(), vec![]);
        let from = Url::parse("https://xn--bcher-kva.example/a").unwrap();
        assert_eq!(rule.reach(&from), Ok(Reach::Home));
        assert_eq!(rule.follow(&from, "https://BÜCHER.example/b").unwrap().1, Reach::Home);
        assert!(rule.follow(&from, "https://bucher.example/b").is_err());
    }

    #[test]
    fn listed_origins_are_bare() {
        for bad in ["cdn.example", "https://a@cdn.example", "https://cdn.example/x", "https://cdn.example?x", "ftp://x"]
        {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn credentials_never_leave_home(reference in "[a-z:/@\\\\.?#%\\[\\]0-9]{0,40}") {
            if let Ok((url, Reach::Home)) = follow(&reference) {
                prop_assert!(url.starts_with("https://api.shop.example/"), "{reference} gave {url}");
            }
        }
    }
}
