//! `query`: a request as it is, the answer as it comes.

use crate::args::Query;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use http_body_util::BodyExt as _;
use hyper::Method;
use saas_export_api::Answer;
use serde_json::Value;
use std::io::Read as _;

/// Sends the request and prints what comes back, also while more is to come.
pub async fn query(args: Query, client: &Client, out: Out) -> Result<Exit, Failure> {
    let method = Method::from_bytes(args.method.to_uppercase().as_bytes())
        .map_err(|_| Failure::usage(format!("{:?} is not a method: use GET, POST, PUT or DELETE", args.method)))?;
    if !args.path.starts_with('/') {
        return Err(Failure::usage(format!("{:?} is not a path: it starts with /v1", args.path)));
    }
    let body = args.data.map(|data| read(&data)).transpose()?;
    let response = client.send(method, &args.path, body).await?;
    let good = response.status().is_success();
    let mut body = response.into_body();
    let mut refusal = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Failure::new(Exit::Unreachable, format!("the connection to the daemon broke: {error}")))?;
        if let Ok(data) = frame.into_data() {
            out.raw(&data)?;
            if !good {
                refusal.extend_from_slice(&data);
            }
        }
    }
    if good {
        return Ok(Exit::Ok);
    }
    // The answer is printed already; only the exit code is still to be found.
    match serde_json::from_slice::<Answer<Value>>(&refusal) {
        Ok(Answer::Error { error }) => Err(Failure::silent(Exit::of_error(error.code))),
        Ok(_) | Err(_) => Err(Failure::silent(Exit::Failed)),
    }
}

fn read(data: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match data.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| Failure::usage(format!("failed to read {file}: {error}"))),
        None if data == "-" => match std::io::stdin().read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Failure::usage(format!("failed to read stdin: {error}"))),
        },
        None => Ok(data.as_bytes().to_vec()),
    }
}
