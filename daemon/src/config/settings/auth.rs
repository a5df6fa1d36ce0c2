//! How requests are authenticated: credentials that stand still, and those that are got, renewed and kept.

use crate::config::units::{SecretText, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How requests are authenticated: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(Bearer),
    /// `Authorization: Basic …` (RFC 7617).
    Basic(Basic),
    /// A key in a header or a query parameter.
    ApiKey(ApiKey),
    /// Headers of your own, by name; they win over those of a stream.
    Headers(BTreeMap<String, SecretText>),
    /// An access token of an OAuth 2.0 server (RFC 6749), got and renewed by the daemon.
    Oauth2(Oauth2),
    /// An access token for a signed assertion (RFC 7523, section 2.1), as service accounts use it.
    JwtBearer(JwtBearer),
    /// A session: credentials are sent once, and the token of the answer goes with every request.
    Session(Box<Session>),
}

/// `Authorization: Bearer …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The token.
    pub token: SecretText,
}

/// `Authorization: Basic …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// User name.
    pub username: SecretText,
    /// Password.
    pub password: SecretText,
}

/// A key in a header or a query parameter: exactly one of `header` and `query`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the header that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Name of the query parameter that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The key.
    pub value: SecretText,
}

/// An access token of an OAuth 2.0 server. It is renewed before it expires, and once when the API answers 401.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Where tokens are asked for: an absolute URL. Its origin alone gets the client's credentials, no redirect is followed,
    /// and the API gets nothing but the access token.
    pub token_url: String,
    /// The client's id.
    pub client_id: SecretText,
    /// The client's secret; a public client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretText>,
    /// How the client shows its secret to the token endpoint.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Scopes to ask for, with client credentials and at `saas-export-daemon auth login`; a renewal keeps what was granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// More parameters of every token request, e.g. `audience`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, SecretText>,
    /// What the access token is given for.
    #[serde(default)]
    pub grant: Grant,
    /// Where people agree, for `saas-export-daemon auth login` (RFC 8252); parameters of your own may stand in its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// Where a code for people is asked for, for `saas-export-daemon auth login` (RFC 8628); wins over `authorize_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_url: Option<String>,
}

/// How a client shows its secret to the token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the header `Authorization: Basic`, id and secret form-encoded.
    #[default]
    Basic,
    /// As the parameters `client_id` and `client_secret` of the body.
    Body,
}

/// What an access token is given for: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// For the client's own credentials (RFC 6749, section 4.4).
    ClientCredentials {},
    /// For a refresh token (RFC 6749, section 6). One that the server rotates is kept, sealed, in `state_dir/secrets`.
    RefreshToken(RefreshToken),
}

impl Default for Grant {
    fn default() -> Self {
        Self::ClientCredentials {}
    }
}

/// A refresh token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshToken {
    /// The first refresh token. Without it, `saas-export-daemon auth login SOURCE` gets one. A different value here wins over
    /// what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretText>,
}

/// An access token for a signed assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtBearer {
    /// Where tokens are asked for: an absolute URL. No redirect is followed.
    pub token_url: String,
    /// The private key in PEM form (PKCS#8, or PKCS#1 for RSA). In auth.env it stands in one line, `\n` for each line end.
    pub key: SecretText,
    /// How the assertion is signed.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Id of the key (`kid`), where the server knows several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Who asks (`iss`), e.g. the client's id or the service account.
    pub issuer: SecretText,
    /// On whose behalf (`sub`); the issuer by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SecretText>,
    /// Whom the assertion is for (`aud`); `token_url` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Scopes to ask for: as a parameter, and as the claim `scope`, because servers differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// More parameters of the token request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, SecretText>,
    /// The client's id, where the server wants one beside the assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<SecretText>,
    /// The client's secret, where the server wants one beside the assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretText>,
    /// How the client shows its secret.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// How long an assertion is valid; servers refuse long ones.
    #[serde(default = "default_assertion")]
    #[schemars(extend("x-minimum" = "10s", "x-maximum" = "24h"))]
    pub lifetime: Span,
}

fn default_assertion() -> Span {
    Span(Duration::from_secs(300))
}

/// How an assertion is signed (RFC 7518).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSA, PKCS#1 v1.5 with SHA-256.
    #[default]
    RS256,
    /// RSA, PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
}

impl Algorithm {
    /// The word in the assertion's header.
    pub fn word(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
        }
    }
}

/// A session. Its token goes into one of `header`, `query` and `cookie`; into `Authorization: Bearer` by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The request that begins a session. No redirect is followed.
    pub login: SessionRequest,
    /// Where the token is in the answer: a JSONPath, `header NAME` or `cookie NAME`.
    pub token: String,
    /// Name of the header that carries the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Name of the query parameter that carries the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Name of the cookie that carries the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Word before the token in its header; `Bearer` by default where that is Authorization, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// How long a session lasts; by default until the API answers 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "30d"))]
    pub lifetime: Option<Span>,
    /// The request that ends a session, sent with its token when the daemon stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logout: Option<SessionRequest>,
}

/// A request that begins or ends a session: exactly one of `path` and `url`, at most one of `body` and `form`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Path below `base_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Absolute URL, where sessions are begun elsewhere; its origin gets the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The method.
    #[serde(default)]
    pub method: SessionMethod,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, SecretText>,
    /// A JSON body; `${NAME}` may stand in its texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// A body of parameters (application/x-www-form-urlencoded).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, SecretText>,
}

/// The method of a request that begins or ends a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionMethod {
    /// GET.
    Get,
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}
