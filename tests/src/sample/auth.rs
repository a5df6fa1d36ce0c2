//! Who may ask: the four ways in which real APIs take credentials.

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
}

/// Every kind with the first path component that asks for it.
const PREFIXES: [(&str, Auth); 4] =
    [("/bearer", Auth::Bearer), ("/basic", Auth::Basic), ("/key", Auth::KeyHeader), ("/query-key", Auth::KeyQuery)];

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

/// Whether a request shows any credential.
pub fn any_credential(headers: &HeaderMap, query_key: Option<&str>) -> bool {
    headers.contains_key(http::header::AUTHORIZATION) || headers.contains_key("x-api-key") || query_key.is_some()
}

/// Whether a request shows what `auth` wants.
pub fn sufficient(auth: Auth, headers: &HeaderMap, query_key: Option<&str>) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match auth {
        Auth::None => true,
        Auth::Bearer => header("authorization").strip_prefix("Bearer ") == Some(BEARER_TOKEN),
        Auth::Basic => {
            let pair = format!("{BASIC_USER}:{BASIC_PASSWORD}");
            let wanted = base64::engine::general_purpose::STANDARD.encode(pair);
            header("authorization").strip_prefix("Basic ") == Some(wanted.as_str())
        }
        Auth::KeyHeader => header("x-api-key") == API_KEY,
        Auth::KeyQuery => query_key == Some(API_KEY),
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
        assert!(!sufficient(Auth::Bearer, &headers, None));
        headers.insert("authorization", format!("Bearer {BEARER_TOKEN}").parse().unwrap());
        assert!(sufficient(Auth::Bearer, &headers, None));
        assert!(!sufficient(Auth::Basic, &headers, None));
        assert!(sufficient(Auth::KeyQuery, &headers, Some(API_KEY)));
        assert!(!sufficient(Auth::KeyQuery, &headers, Some("key")));
    }
}
