//! Sources: URLs, retries, proxy, TLS.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Proxy, Rest, Source};
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
            self.auth(&path.key("auth"), rest, auth);
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
pub(super) fn web_url(text: &str) -> Option<Url> {
    let strict = text.contains("://") && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    let url = Url::parse(text).ok().filter(|_| strict)?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

pub(super) fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

pub(super) fn bare(url: &Url) -> bool {
    matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none()
}
