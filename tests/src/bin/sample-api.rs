//! Serves the sample SaaS API until it is told to stop.

use clap::Parser;
use saas_export_tests::sample::{Options, SampleApi};
use std::net::SocketAddr;

/// A sample SaaS API with every way of paging, faults on request and an oracle below /_control.
#[derive(Parser)]
struct Args {
    /// Address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Records in all.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Decides every value.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Records of a page unless the client asks for fewer.
    #[arg(long, default_value_t = 1000)]
    page_size: u64,
    /// Accounts that the orders are dealt to, for streams with parents.
    #[arg(long, default_value_t = 20)]
    accounts: u64,
    /// Megabytes of serialised pages that are kept.
    #[arg(long, default_value_t = 512)]
    cache_mb: usize,
    /// Compress answers for clients that accept gzip.
    #[arg(long)]
    gzip: bool,
    /// Give pages a `Content-Digest`.
    #[arg(long)]
    digests: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let api = SampleApi::start(Options {
        listen: args.listen,
        records: args.records,
        seed: args.seed,
        page_size: args.page_size,
        max_page: args.page_size.max(1000),
        accounts: args.accounts,
        cache_bytes: args.cache_mb << 20,
        gzip: args.gzip,
        digests: args.digests,
        ..Options::default()
    })?;
    println!("listening on {}", api.origin());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = end.recv() => Ok(()),
        }
    })?;
    Ok(())
}
