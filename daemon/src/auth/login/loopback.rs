//! The loopback flow (RFC 8252, section 7.3) with PKCE (RFC 7636): the browser brings the code to a port of this machine.

use super::Say;
use crate::auth::error::AuthError;
use crate::auth::oauth2::param;
use crate::auth::recipe::{Recipe, TokenServer};
use crate::auth::token::Tokens;
use crate::base::secret::Secret;
use crate::net::mask::MAX_SAID;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

/// Where the browser is sent back to.
const PATH: &str = "/callback";
/// Random bytes of the state and of the verifier.
const RANDOM: usize = 32;
/// The largest head of a request that is read.
const MAX_HEAD: usize = 16 << 10;
/// The longest that a connection may take over its request: browsers open some in advance and say nothing.
const CONNECTION: Duration = Duration::from_secs(10);
/// Connections at a time; more wait.
const MAX_CONNECTIONS: usize = 16;
pub(super) async fn login(
    recipe: &Recipe,
    server: &TokenServer,
    (authorize, port): (&Url, u16),
    say: Say<'_>,
) -> Result<Tokens, AuthError> {
    let refused = |why: String| AuthError::Login(why);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) =
        bound.map_err(|error| refused(format!("wait for the browser on 127.0.0.1:{port}: {error}")))?;
    let (state, verifier) = (random()?, random()?);
    recipe.learned.add(verifier.expose());
    let redirect = format!("http://127.0.0.1:{port}{PATH}");
    let mut url = authorize.clone();
    {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
        let scope = super::scope(server);
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("response_type", "code");
        pairs.extend_pairs(server.client.iter().map(|client| ("client_id", client.id.expose())));
        pairs.extend_pairs(scope.iter().map(|(name, value)| (name, value.expose())));
        pairs.append_pair("redirect_uri", &redirect).append_pair("state", state.expose());
        pairs.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
    }
    say(&format!("Open this page in a browser on this machine:\n\n    {url}"));
    say(&format!(
        "From another machine, first run there:  ssh -L {port}:127.0.0.1:{port} THIS-MACHINE\n\
         The server must know {redirect} (or any port of it) as a redirect URI; --port N keeps the port the same."
    ));
    let code = answer(listener, &state).await.map_err(|why| refused(recipe.mask.clean(&why, MAX_SAID)))?;
    recipe.learned.add(code.expose());
    let form =
        vec![("code".to_owned(), code), param("redirect_uri", &redirect), ("code_verifier".to_owned(), verifier)];
    let call = server.ask("authorization_code", form);
    Ok(recipe.token(&call, "check `auth.oauth2.client_id`, `client_secret` and `client_auth`").await?.0)
}

fn random() -> Result<Secret, AuthError> {
    let mut bytes = [0; RANDOM];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AuthError::Died)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// Waits for the request that brings the code. Others, also such with another state, get an answer and end nothing.
async fn answer(listener: TcpListener, state: &Secret) -> Result<Secret, String> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    let state = state.clone();
                    connections.spawn(async move {
                        tokio::time::timeout(CONNECTION, serve(stream, &state)).await.ok().flatten()
                    });
                }
            }
            Some(served) = connections.join_next() => {
                if let Ok(Some(result)) = served {
                    return result;
                }
            }
        }
    }
}

/// Answers one connection; what it brought, if it is what is waited for.
async fn serve(mut stream: TcpStream, state: &Secret) -> Option<Result<Secret, String>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let brought = read(&head, state);
    let (status, words) = match &brought {
        Some(Ok(_)) => ("200 OK", "saas-export-daemon has what it needs. You can close this window."),
        Some(Err(_)) => ("200 OK", "The login was refused. You can close this window; the terminal says why."),
        None => ("404 Not Found", "This is not the answer that is waited for."),
    };
    let length = words.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{words}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    brought
}

/// Reads the code, or why there is none, from the head of a request (RFC 6749, section 4.1.2); nothing without the state.
fn read(head: &[u8], state: &Secret) -> Option<Result<Secret, String>> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let mut words = line.split(' ');
    let target = words.next().filter(|method| *method == "GET").and(words.next())?;
    let (path, query) = target.split_once('?')?;
    let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if path != PATH || query.get("state").map(String::as_str) != Some(state.expose()) {
        return None;
    }
    if let Some(error) = query.get("error") {
        let said = query.get("error_description").map(|said| format!(" and says {said:?}")).unwrap_or_default();
        return Some(Err(format!("the server answers {error:?}{said}")));
    }
    query.get("code").filter(|code| !code.is_empty()).map(|code| Ok(Secret::new(code.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brought(target: &str) -> Option<Result<String, String>> {
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        read(head.as_bytes(), &Secret::new("s t")).map(|got| got.map(|code| code.expose().to_owned()))
    }

    #[test]
    fn only_the_state_that_was_sent_counts() {
        assert_eq!(brought("/callback?code=c%2B1&state=s+t"), Some(Ok("c+1".to_owned())));
        for none in ["/callback?code=c", "/callback?code=c&state=x", "/?code=c&state=s+t", "/callback?state=s+t", "/x"]
        {
            assert_eq!(brought(none), None, "{none}");
        }
        assert!(brought("/callback?error=access_denied&state=s%20t").unwrap().unwrap_err().contains("access_denied"));
    }

    proptest! {
        #[test]
        fn any_request_is_survived(head in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read(&head, &Secret::new("state")).is_none());
        }
    }
}
