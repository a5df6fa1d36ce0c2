//! Who may ask: the ways in which real APIs take credentials.

use super::issuer::Issuer;
use base64::Engine as _;
use http::HeaderMap;

/// The token that `/bearer/…` wants.
pub const BEARER_TOKEN: &str = "tok-5f1c=secret#value";
/// The user that `/basic/…` wants.
pub const BASIC_USER: &str = "shop-reader";
/// The password that `/basic/…` wants.
pub const BASIC_PASSWORD: &str = "pass word:with \"colon\"";
/// The key that `/key/…` wants in `X-Api-Key` and `/query-key/…` in `?api_key=`.
pub const API_KEY: &str = "key/with+signs&and=more";

/// The account that `/headers/…` wants in `X-Account`, beside the key.
pub const ACCOUNT: &str = "account-7";

/// What a request has to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// `X-Api-Key`.
    KeyHeader,
    /// `?api_key=`.
    KeyQuery,
    /// `X-Api-Key` and `X-Account`.
    Headers,
    /// An access token of the token server, in `Authorization: Bearer`.
    Token,
    /// A session's token, in `X-Session`.
    SessionHeader,
    /// A session's token, in `?session=`.
    SessionQuery,
    /// A session's token, in the cookie `sid`.
    SessionCookie,
}

/// The credentials of a request.
pub struct Shown<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// `?api_key=`.
    pub key: Option<&'a str>,
    /// `?session=`.
    pub session: Option<&'a str>,
}

/// Every kind with the first path component that asks for it.
const PREFIXES: [(&str, Auth); 9] = [
    ("/bearer", Auth::Bearer),
    ("/basic", Auth::Basic),
    ("/key", Auth::KeyHeader),
    ("/query-key", Auth::KeyQuery),
    ("/headers", Auth::Headers),
    ("/oauth", Auth::Token),
    ("/session-header", Auth::SessionHeader),
    ("/session-query", Auth::SessionQuery),
    ("/session-cookie", Auth::SessionCookie),
];

/// Splits the prefix that names the kind of credentials off a path: prefix, kind, rest.
pub fn split(path: &str) -> (&str, Auth, &str) {
    for (prefix, auth) in PREFIXES {
        if let Some(rest) = path.strip_prefix(prefix)
            && rest.starts_with('/')
        {
            return (prefix, auth, rest);
        }
    }
    ("", Auth::None, path)
}

impl Shown<'_> {
    /// Whether there is any credential.
    pub fn any(&self) -> bool {
        let names = ["authorization", "x-api-key", "x-account", "x-session", "cookie"];
        names.iter().any(|name| self.headers.contains_key(*name)) || self.key.is_some() || self.session.is_some()
    }

    /// Whether it is what `auth` wants; counts the use of a token.
    pub fn suffices(&self, auth: Auth, issuer: &mut Issuer) -> bool {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match auth {
            Auth::None => true,
            Auth::Bearer => header("authorization").strip_prefix("Bearer ") == Some(BEARER_TOKEN),
            Auth::Basic => {
                let pair = format!("{BASIC_USER}:{BASIC_PASSWORD}");
                let wanted = base64::engine::general_purpose::STANDARD.encode(pair);
                header("authorization").strip_prefix("Basic ") == Some(wanted.as_str())
            }
            Auth::KeyHeader => header("x-api-key") == API_KEY,
            Auth::KeyQuery => self.key == Some(API_KEY),
            Auth::Headers => header("x-api-key") == API_KEY && header("x-account") == ACCOUNT,
            Auth::Token => header("authorization").strip_prefix("Bearer ").is_some_and(|token| issuer.admits(token)),
            Auth::SessionHeader => issuer.admits(header("x-session")),
            Auth::SessionQuery => self.session.is_some_and(|token| issuer.admits(token)),
            Auth::SessionCookie => header("cookie").strip_prefix("sid=").is_some_and(|token| issuer.admits(token)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_components() {
        assert_eq!(split("/bearer/v2/orders"), ("/bearer", Auth::Bearer, "/v2/orders"));
        assert_eq!(split("/key/v2/orders").1, Auth::KeyHeader);
        assert_eq!(split("/keys/v2/orders"), ("", Auth::None, "/keys/v2/orders"));
        assert_eq!(split("/v2/orders").1, Auth::None);
    }

    #[test]
    fn a_wrong_credential_is_not_enough() {
        let mut headers = HeaderMap::new();
        let shows =
            |auth, headers: &HeaderMap, key| Shown { headers, key, session: None }.suffices(auth, &mut Issuer::new());
        assert!(!shows(Auth::Bearer, &headers, None));
        headers.insert("authorization", format!("Bearer {BEARER_TOKEN}").parse().unwrap());
        assert!(shows(Auth::Bearer, &headers, None));
        assert!(!shows(Auth::Basic, &headers, None) && !shows(Auth::Token, &headers, None));
        assert!(shows(Auth::KeyQuery, &headers, Some(API_KEY)));
        assert!(!shows(Auth::KeyQuery, &headers, Some("key")));
    }
}
