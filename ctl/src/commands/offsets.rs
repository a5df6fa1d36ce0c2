//! `offsets show`, `offsets set`, `offsets reset`.

use super::resolve;
use crate::args::Offsets;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use hyper::Method;
use saas_export_api::OffsetsDoc;
use std::io::Read as _;
use std::path::Path;

/// The largest document that the daemon takes.
const LARGEST: u64 = 1 << 20;

/// Shows, sets or resets the offsets of a task. What is printed is what `set` takes, with or without `--json`.
pub async fn offsets(args: Offsets, client: &Client, out: Out) -> Result<Exit, Failure> {
    let document: OffsetsDoc = match args {
        Offsets::Show { target } => client.get(&format!("{}/offsets", resolve(&target, client).await?)).await?,
        Offsets::Set { target, file } => {
            let body = read(&file)?;
            let path = format!("{}/offsets", resolve(&target, client).await?);
            client.patient(Method::PUT, &path, Some(body)).await?
        }
        Offsets::Reset { yes: false, .. } => {
            return Err(Failure::usage("a reset fetches again what was fetched").hint("add --yes to go on"));
        }
        Offsets::Reset { target, stream, yes: true } => {
            let stream = stream.map(|stream| format!("?stream={}", encode(&stream))).unwrap_or_default();
            let path = format!("{}/offsets{stream}", resolve(&target, client).await?);
            client.patient(Method::DELETE, &path, None).await?
        }
    };
    out.document(&document)?;
    Ok(Exit::Ok)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("failed to read {}: {error}", file.display()));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::usage(format!("{} is larger than {LARGEST} bytes", file.display())));
    }
    Ok(bytes)
}
