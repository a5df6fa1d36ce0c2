//! A small S3 of our own in memory, which answers by the book or, where a test says so, as no real server does on request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: &'static str,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What happens to a request instead of what should.
#[derive(Clone, Debug)]
pub enum Act {
    /// It is refused with this status, code and header.
    Refuse(u16, &'static str, (&'static str, String)),
    /// It is done, and the connection ends without an answer.
    Silent,
    /// It is answered with 200 and this body, and not done.
    Say(&'static str),
}

/// What the store does otherwise than it should.
#[derive(Debug, Default)]
pub struct Ways {
    pub ignores_conditions: bool,
    pub ignores_checksums: bool,
    /// No checksum of the whole object: only that of the parts' checksums.
    pub composite: bool,
    /// What it says of an object is wrong.
    pub lies: bool,
    /// Parts or uploads on a page of a list; all if 0.
    pub page: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub etag: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub key: String,
    pub since: String,
    pub headers: BTreeMap<String, String>,
    pub parts: BTreeMap<u32, Object>,
}

#[derive(Debug, Default)]
pub struct State {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    pub seen: Vec<Seen>,
    /// Operation, passages that are left to go well, what happens then.
    pub rules: Vec<(&'static str, u32, Act)>,
    pub ways: Ways,
    counter: u32,
}

type Said = (u16, Vec<(String, String)>, Vec<u8>);

/// The store.
#[derive(Clone)]
pub struct Fake {
    pub at: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self { at: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = serving.clone();
                tokio::spawn(async move { drop(fake.serve(stream).await) });
            }
        });
        fake
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next passage of an operation goes otherwise.
    pub fn rule(&self, operation: &'static str, act: Act) {
        self.state().rules.push((operation, 0, act));
    }

    pub fn count(&self, operation: &str) -> usize {
        self.state().seen.iter().filter(|seen| seen.operation == operation).count()
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let headers: BTreeMap<String, String> = head[1..]
                .iter()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let mut words = head[0].split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            let Some((status, mut headers, body)) = self.answer(&method, &target, headers, body) else {
                return Ok(());
            };
            if !headers.iter().any(|(name, _)| name == "content-length") {
                headers.push(("content-length".to_owned(), body.len().to_string()));
            }
            let mut answer = format!("HTTP/1.1 {status} x\r\n");
            for (name, value) in headers {
                let _ = write!(answer, "{name}: {value}\r\n");
            }
            stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
            if method != "HEAD" {
                stream.write_all(&body).await?;
            }
            stream.flush().await?;
        }
    }

    fn answer(&self, method: &str, target: &str, headers: BTreeMap<String, String>, body: Vec<u8>) -> Option<Said> {
        let url = url::Url::parse(&format!("http://fake{target}")).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let key = url.path().trim_start_matches("/bucket").trim_start_matches('/').to_owned();
        let operation = match (method, query.contains_key("uploads"), query.contains_key("uploadId")) {
            ("PUT", _, true) => "Part",
            ("PUT", ..) => "Put",
            ("HEAD", ..) => "Head",
            ("DELETE", _, true) => "Abort",
            ("DELETE", ..) => "Delete",
            ("POST", true, _) => "Create",
            ("POST", ..) => "Complete",
            ("GET", true, _) => "Uploads",
            ("GET", _, true) => "Parts",
            _ => "Get",
        };
        let seen = Seen { operation, key, query, headers, body };
        let mut state = self.state();
        state.seen.push(seen.clone());
        let due = state.rules.iter_mut().position(|(name, left, _)| {
            let due = *name == operation && *left == 0;
            *left = left.saturating_sub(u32::from(*name == operation));
            due
        });
        match due.map(|due| state.rules.remove(due).2) {
            None => Some(state.perform(&seen)),
            Some(Act::Silent) => {
                state.perform(&seen);
                None
            }
            Some(Act::Refuse(status, code, header)) => Some(refuse(status, code, Some(header))),
            Some(Act::Say(body)) => Some((200, Vec::new(), body.into())),
        }
    }
}

fn refuse(status: u16, code: &str, header: Option<(&'static str, String)>) -> Said {
    let headers = header.into_iter().filter(|(name, _)| !name.is_empty());
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told by a test</Message></Error>");
    (status, headers.map(|(name, value)| (name.to_owned(), value)).collect(), body.into())
}

fn sha(bytes: &[u8]) -> String {
    BASE64.encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn crc(bytes: &[u8]) -> String {
    BASE64.encode(crc32c::crc32c(bytes).to_be_bytes())
}

impl State {
    fn perform(&mut self, seen: &Seen) -> Said {
        if seen.key.is_empty() && seen.operation != "Uploads" {
            return refuse(404, "NoSuchKey", None);
        }
        match seen.operation {
            "Put" => self.put(seen),
            "Head" | "Get" => self.get(seen),
            "Delete" => {
                self.objects.remove(&seen.key);
                (204, Vec::new(), Vec::new())
            }
            "Create" => self.create(seen),
            "Uploads" => self.list_uploads(seen),
            _ => match self.uploads.contains_key(&seen.query["uploadId"]) {
                false => refuse(404, "NoSuchUpload", None),
                true => self.of_upload(seen),
            },
        }
    }

    /// Why a condition does not hold.
    fn hindered(&self, seen: &Seen) -> Option<Said> {
        let there = self.objects.get(&seen.key);
        let absent = seen.headers.contains_key("if-none-match") && there.is_some();
        let other = seen.headers.get("if-match").is_some_and(|tag| there.is_none_or(|object| object.etag != *tag));
        (!self.ways.ignores_conditions && (absent || other)).then(|| refuse(412, "PreconditionFailed", None))
    }

    fn keep(&mut self, seen: &Seen, bytes: Vec<u8>, checksum: (&str, String), kept: &BTreeMap<String, String>) -> Said {
        self.counter += 1;
        let etag = format!("\"tag-{}\"", self.counter);
        let mut headers: BTreeMap<String, String> = kept
            .iter()
            .filter(|(name, _)| name.starts_with("x-amz-meta"))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        headers.insert(checksum.0.to_owned(), checksum.1);
        self.objects.insert(seen.key.clone(), Object { bytes, etag: etag.clone(), headers });
        (200, vec![("etag".to_owned(), etag)], Vec::new())
    }

    fn put(&mut self, seen: &Seen) -> Said {
        if let Some(hindered) = self.hindered(seen) {
            return hindered;
        }
        let sum = sha(&seen.body);
        if !self.ways.ignores_checksums && seen.headers.get("x-amz-checksum-sha256") != Some(&sum) {
            return refuse(400, "BadDigest", None);
        }
        self.keep(seen, seen.body.clone(), ("x-amz-checksum-sha256", sum), &seen.headers.clone())
    }

    fn get(&self, seen: &Seen) -> Said {
        let Some(object) = self.objects.get(&seen.key) else { return refuse(404, "NoSuchKey", None) };
        let mut headers: Vec<(String, String)> = object.headers.clone().into_iter().collect();
        if self.ways.lies {
            headers
                .iter_mut()
                .filter(|(name, _)| name.contains("checksum"))
                .for_each(|(_, value)| *value = sha(b"lie"));
            headers.iter_mut().filter(|(name, _)| name.contains("crc32c")).for_each(|(_, value)| *value = crc(b"lie"));
        }
        headers.push(("etag".to_owned(), object.etag.clone()));
        headers.push(("content-length".to_owned(), object.bytes.len().to_string()));
        (200, headers, object.bytes.clone())
    }

    fn create(&mut self, seen: &Seen) -> Said {
        self.counter += 1;
        let id = format!("upload-{}", self.counter);
        let (headers, since) = (seen.headers.clone(), "2026-01-01T00:00:00.000Z".to_owned());
        self.uploads.insert(id.clone(), Upload { key: seen.key.clone(), since, headers, parts: BTreeMap::new() });
        let kind = if self.ways.composite { "COMPOSITE" } else { "FULL_OBJECT" };
        let body = format!("<R><UploadId>{id}</UploadId></R>");
        (200, vec![("x-amz-checksum-type".to_owned(), kind.to_owned())], body.into())
    }

    fn of_upload(&mut self, seen: &Seen) -> Said {
        let id = seen.query["uploadId"].clone();
        match seen.operation {
            "Part" => {
                let sum = crc(&seen.body);
                if seen.headers.get("x-amz-checksum-crc32c") != Some(&sum) {
                    return refuse(400, "BadDigest", None);
                }
                self.counter += 1;
                let etag = format!("part-{}", self.counter);
                let part = Object { bytes: seen.body.clone(), etag: etag.clone(), headers: BTreeMap::new() };
                let number = seen.query["partNumber"].parse().unwrap();
                self.uploads.get_mut(&id).unwrap().parts.insert(number, part);
                (200, vec![("etag".to_owned(), format!("\"{etag}\""))], Vec::new())
            }
            "Parts" => self.list_parts(seen, &id),
            "Complete" => self.complete(seen, &id),
            _ => {
                self.uploads.remove(&id);
                (204, Vec::new(), Vec::new())
            }
        }
    }

    fn list_parts(&self, seen: &Seen, id: &str) -> Said {
        let after: u32 = seen.query.get("part-number-marker").map_or(0, |text| text.parse().unwrap());
        let page = if self.ways.page == 0 { 1000 } else { self.ways.page };
        let left: Vec<_> = self.uploads[id].parts.iter().filter(|(number, _)| **number > after).collect();
        let mut xml = format!("<L><IsTruncated>{}</IsTruncated>", left.len() > page);
        xml += if self.ways.composite { "" } else { "<ChecksumType>FULL_OBJECT</ChecksumType>" };
        for (number, part) in left.iter().take(page) {
            let (bytes, etag, sum) = (part.bytes.len(), &part.etag, crc(&part.bytes));
            let _ = write!(
                xml,
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag><Size>{bytes}</Size>\
                 <ChecksumCRC32C>{sum}</ChecksumCRC32C></Part><NextPartNumberMarker>{number}</NextPartNumberMarker>"
            );
        }
        // The marker is that of the last part.
        let last = left.iter().take(page).next_back().map(|(number, _)| **number).unwrap_or_default();
        let xml = xml.replace("<NextPartNumberMarker>", "<Ignored>").replace("</NextPartNumberMarker>", "</Ignored>");
        (200, Vec::new(), format!("{xml}<NextPartNumberMarker>{last}</NextPartNumberMarker></L>").into())
    }

    fn complete(&mut self, seen: &Seen, id: &str) -> Said {
        if let Some(hindered) = self.hindered(seen) {
            return hindered;
        }
        let body = String::from_utf8(seen.body.clone()).unwrap();
        let upload = self.uploads[id].clone();
        let (mut bytes, mut sums) = (Vec::new(), Vec::new());
        for (number, part) in &upload.parts {
            if !body.contains(&format!("<PartNumber>{number}</PartNumber><ETag>&quot;{}&quot;</ETag>", part.etag))
                && !body.contains(&format!("<PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag>", part.etag))
            {
                return refuse(400, "InvalidPart", None);
            }
            bytes.extend_from_slice(&part.bytes);
            sums.extend_from_slice(&crc32c::crc32c(&part.bytes).to_be_bytes());
        }
        let sum = match self.ways.composite {
            true => format!("{}-{}", crc(&sums), upload.parts.len()),
            false => crc(&bytes),
        };
        if seen.headers.get("x-amz-checksum-crc32c").is_some_and(|told| *told != sum) {
            return refuse(400, "BadDigest", None);
        }
        self.uploads.remove(id);
        self.keep(seen, bytes, ("x-amz-checksum-crc32c", sum), &upload.headers);
        (200, Vec::new(), b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>".to_vec())
    }

    fn list_uploads(&self, seen: &Seen) -> Said {
        let page = if self.ways.page == 0 { 1000 } else { self.ways.page };
        let after = seen.query.get("upload-id-marker").cloned().unwrap_or_default();
        let below = |key: &str| key.starts_with(&seen.query["prefix"]);
        let left: Vec<_> = self.uploads.iter().filter(|(id, open)| **id > after && below(&open.key)).collect();
        let mut xml = format!("<L><IsTruncated>{}</IsTruncated>", left.len() > page);
        for (id, open) in left.iter().take(page) {
            let (key, since) = (&open.key, &open.since);
            let _ =
                write!(xml, "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{since}</Initiated></Upload>");
        }
        if let Some((id, open)) = left.iter().take(page).next_back() {
            let key = &open.key;
            let _ = write!(xml, "<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>");
        }
        (200, Vec::new(), (xml + "</L>").into())
    }
}
