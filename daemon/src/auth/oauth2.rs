//! Requests to a token endpoint: the client shows itself (RFC 6749, section 2.3.1) and names its grant.

use super::endpoint::Call;
use crate::base::secret::Secret;
use crate::config::settings::ClientAuth;
use crate::net::mask::Mask;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

/// Parameters of a request.
pub type Form = Vec<(String, Secret)>;

/// A client of a token endpoint.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id.
    pub id: Secret,
    /// Its secret; a public client has none.
    pub secret: Option<Secret>,
    /// How it shows the secret.
    pub how: ClientAuth,
}

impl Client {
    /// Hides what must not show up: the secret, alone and in each form in which it is sent.
    pub fn hide(&self, mask: &mut Mask) {
        if let Some(secret) = &self.secret {
            mask.add_basic(self.id.expose(), secret.expose());
            mask.add_basic(&encoded(&self.id), &encoded(secret));
        }
    }

    fn show(&self, headers: &mut HeaderMap, form: &mut Form) {
        match (&self.secret, self.how) {
            (Some(secret), ClientAuth::Basic) => {
                let pair = format!("{}:{}", encoded(&self.id), encoded(secret));
                // Base64 is made of characters that every header may hold.
                if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))) {
                    value.set_sensitive(true);
                    headers.insert(AUTHORIZATION, value);
                }
            }
            (Some(secret), ClientAuth::Body) => {
                form.push(("client_id".to_owned(), self.id.clone()));
                form.push(("client_secret".to_owned(), secret.clone()));
            }
            // A public client names itself (section 3.2.1).
            (None, _) => form.push(("client_id".to_owned(), self.id.clone())),
        }
    }
}

/// Id and secret are form-encoded before they become user name and password, so that a colon in them is no border.
fn encoded(text: &Secret) -> String {
    byte_serialize(text.expose().as_bytes()).collect()
}

/// A POST of parameters to `url`, from `client`.
pub fn post(url: &Url, client: Option<&Client>, mut form: Form) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(client) = client {
        client.show(&mut headers, &mut form);
    }
    let pairs = form.iter().map(|(name, value)| (name, value.expose()));
    let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
    Call { method: Method::POST, url: url.clone(), headers, body: Some(body.into()) }
}

/// A parameter.
pub fn param(name: &str, value: &str) -> (String, Secret) {
    (name.to_owned(), Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(how: ClientAuth, secret: Option<&str>) -> Client {
        Client { id: Secret::new("id :%/é"), secret: secret.map(Secret::new), how }
    }

    fn sent(client: &Client) -> (Option<String>, String) {
        let call = post(&Url::parse("https://a.example/t").unwrap(), Some(client), vec![param("grant_type", "g")]);
        let basic = call.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        (basic, String::from_utf8(call.body.unwrap().to_vec()).unwrap())
    }

    #[test]
    fn a_client_shows_itself_one_way_at_a_time() {
        let (basic, body) = sent(&client(ClientAuth::Basic, Some("s:&")));
        let pair = STANDARD.decode(basic.unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"id+%3A%25%2F%C3%A9:s%3A%26");
        assert_eq!(body, "grant_type=g");
        let (basic, body) = sent(&client(ClientAuth::Body, Some("s:&")));
        assert_eq!((basic, body.as_str()), (None, "grant_type=g&client_id=id+%3A%25%2F%C3%A9&client_secret=s%3A%26"));
        let (basic, body) = sent(&client(ClientAuth::Basic, None));
        assert_eq!((basic, body.as_str()), (None, "grant_type=g&client_id=id+%3A%25%2F%C3%A9"));
    }

    proptest! {
        /// Whatever they hold, a server that decodes as RFC 6749 says gets both back.
        #[test]
        fn id_and_secret_come_back(id in "\\PC{1,20}", secret in "\\PC{1,20}") {
            let shown = Client { id: Secret::new(&*id), secret: Some(Secret::new(&*secret)), how: ClientAuth::Basic };
            let pair = STANDARD.decode(sent(&shown).0.unwrap().strip_prefix("Basic ").unwrap()).unwrap();
            let pair = String::from_utf8(pair).unwrap();
            let decode = |text: &str| url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned();
            let (left, right) = pair.split_once(':').unwrap();
            prop_assert_eq!((decode(left), decode(right)), (id, secret));
            let mut mask = Mask::default();
            shown.hide(&mut mask);
            prop_assert!(!right.is_empty());
        }
    }
}
