//! Sources: URLs, authentication, retries, proxy, TLS.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::secrets;
use crate::config::settings::{ApiKey, Auth, Proxy, Rest, Source};
use crate::config::units::SecretText;
use url::Url;

impl Check<'_> {
    pub(super) fn sources(&mut self) {
        for (name, source) in &self.config.sources {
            let Source::Rest(rest) = source;
            self.rest(&KeyPath::of(&["sources", name.as_str(), "rest"]), rest);
        }
    }

    fn rest(&mut self, path: &KeyPath, rest: &Rest) {
        self.base_url(&path.key("base_url"), &rest.base_url);
        if let Some(auth) = &rest.auth {
            self.auth(&path.key("auth"), auth);
        }
        self.headers(&path.key("headers"), &rest.headers, rest.auth.as_ref());
        self.query(&path.key("query"), &rest.query, rest.auth.as_ref());
        if rest.retry.max < rest.retry.initial {
            let message = format!("is shorter than initial, {}", rest.retry.initial);
            self.wrong(Mistake::value(&path.key("retry").key("max"), message));
        }
        self.answers(&path.key("answers"), &rest.answers);
        if let Some(proxy) = &rest.proxy {
            self.proxy(&path.key("proxy"), proxy);
        }
        let tls = path.key("tls");
        for (key, file) in [("ca_file", &rest.tls.ca_file), ("client_identity", &rest.tls.client_identity)] {
            if let Some(file) = file {
                self.absolute(&tls.key(key), file);
            }
        }
        for (index, origin) in rest.allowed_origins.iter().enumerate() {
            self.origin(&path.key("allowed_origins").item(index), origin);
        }
        let streams = path.key("streams");
        if rest.streams.is_empty() {
            self.wrong(Mistake::key(&streams, "there is no stream"));
        }
        for (name, stream) in &rest.streams {
            self.stream(&streams.key(name.as_str()), rest, stream);
        }
        self.ancestors(&streams, rest);
    }

    /// The URL is not shown: an operator may have put a password into it.
    fn base_url(&mut self, path: &KeyPath, text: &str) {
        let example = "write e.g. https://api.example.com/v2";
        let Some(url) = web_url(text) else {
            self.wrong(Mistake::value(path, "is not an absolute http or https URL").hint(example));
            return;
        };
        if has_user(&url) {
            let mistake = Mistake::value(path, "must not hold a user name or password");
            self.wrong(mistake.hint("use auth: { basic: … } and auth.env"));
        }
        if url.query().is_some() {
            self.wrong(Mistake::value(path, "must not have a query").hint("write its parameters under the key query"));
        }
        if url.fragment().is_some() {
            self.wrong(Mistake::value(path, "must not have a fragment (#…)"));
        }
    }

    fn auth(&mut self, path: &KeyPath, auth: &Auth) {
        match auth {
            Auth::Bearer(bearer) => self.kept_apart(&path.key("bearer").key("token"), &bearer.token),
            Auth::Basic(basic) => self.kept_apart(&path.key("basic").key("password"), &basic.password),
            Auth::ApiKey(key) => self.api_key(&path.key("api_key"), key),
        }
    }

    fn api_key(&mut self, path: &KeyPath, key: &ApiKey) {
        self.kept_apart(&path.key("value"), &key.value);
        match (&key.header, &key.query) {
            (Some(header), None) => self.header_name(&path.key("header"), header),
            (None, Some(param)) if param.is_empty() => self.wrong(Mistake::value(&path.key("query"), "is empty")),
            (None, Some(_)) => {}
            (Some(_), Some(_)) => self.wrong(Mistake::key(path, "only one of header and query may be there")),
            (None, None) => {
                let mistake = Mistake::key(path, "one of the keys header and query is missing");
                self.wrong(mistake.hint("write e.g. header: X-Api-Key"));
            }
        }
    }

    /// A secret that is written down in the configuration itself would reach the ledger and every backup of it.
    pub(super) fn kept_apart(&mut self, path: &KeyPath, text: &SecretText) {
        let asks = !secrets::names(&text.0).is_empty() || secrets::parts(&text.0).is_err();
        if !text.0.is_empty() && !asks {
            let mistake = Mistake::value(path, "a secret must not be written here");
            self.wrong(mistake.hint("write \"${NAME}\" here and NAME=… in auth.env"));
        }
    }

    fn proxy(&mut self, path: &KeyPath, proxy: &Proxy) {
        let here = path.key("url");
        match Url::parse(&proxy.url).ok().filter(|url| url.scheme() == "http" && url.has_host()) {
            None => {
                let mistake = Mistake::value(&here, "is not an absolute http URL");
                self.wrong(mistake.hint("write e.g. http://proxy.example:3128"));
            }
            Some(url) if has_user(&url) => {
                let mistake = Mistake::value(&here, "must not hold a user name or password");
                self.wrong(mistake.hint("use the keys username and password"));
            }
            Some(url) if !bare(&url) => self.wrong(Mistake::value(&here, "must not have a path, query or fragment")),
            Some(_) => {}
        }
        if let Some(password) = &proxy.password {
            self.kept_apart(&path.key("password"), password);
            if proxy.username.is_none() {
                self.wrong(Mistake::key(&path.key("password"), "stands without username"));
            }
        }
        for (index, host) in proxy.no_proxy.iter().enumerate() {
            let bad = |c: char| c.is_whitespace() || c.is_control() || c == ',';
            if host.is_empty() || host.contains(bad) || host.contains("://") {
                let mistake = Mistake::value(&path.key("no_proxy").item(index), "is no host, domain or network");
                self.wrong(mistake.hint("write e.g. localhost, .example.com or 10.0.0.0/8"));
            }
        }
    }

    fn origin(&mut self, path: &KeyPath, text: &str) {
        let url = web_url(text).filter(|url| bare(url) && !has_user(url));
        if url.is_none() || text.contains(['?', '#', '@', '\\']) {
            let mistake = Mistake::value(path, "is no origin");
            self.wrong(mistake.hint("write https://host or https://host:port, without path"));
        }
    }
}

/// An absolute http or https URL with a host, written without surprises: the URL parser forgives white space,
/// backslashes and missing slashes, people reading the file do not.
fn web_url(text: &str) -> Option<Url> {
    let strict = text.contains("://") && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    let url = Url::parse(text).ok().filter(|_| strict)?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn bare(url: &Url) -> bool {
    matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none()
}
