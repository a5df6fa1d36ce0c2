//! The one table of what the control API can do, and who may do it.

use super::access::Access::{self, Admin, Operate, Read};
use super::handlers::{
    daemon, deliver, downloads, events, exports, files, ledger, notifications, offsets, prune, schedules, schema, tasks,
};
use super::reply::{Failure, Reply};
use super::service::Call;
use crate::queue::handle::Act;
use futures_util::future::BoxFuture;
use http::Method;
use saas_export_api::ErrorCode;

/// What answers a request.
pub type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, Failure>>;

/// One method of one path.
pub struct Route {
    /// The method; everything but GET changes something, and is audited.
    pub method: Method,
    /// The path; `{…}` stands for one segment.
    pub path: &'static str,
    /// What the caller needs.
    pub access: Access,
    /// What answers.
    pub handler: Handler,
}

const fn get(path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method: Method::GET, path, access, handler }
}

const fn post(path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method: Method::POST, path, access, handler }
}

/// Every route. A path that is not here does not exist; a literal segment comes before a `{…}` in the same place.
pub static ROUTES: &[Route] = &[
    get("/", Read, |call| Box::pin(daemon::version(call))),
    get("/v1", Read, |call| Box::pin(daemon::version(call))),
    get("/v1/openapi.json", Read, |call| Box::pin(daemon::openapi(call))),
    get("/v1/status", Read, |call| Box::pin(daemon::status(call))),
    get("/v1/metrics", Read, |call| Box::pin(daemon::metrics(call))),
    get("/v1/events", Read, |call| Box::pin(events::events(call))),
    get("/v1/config/check", Operate, |call| Box::pin(daemon::check_config(call))),
    get("/v1/check", Operate, |call| Box::pin(exports::check_all(call))),
    get("/v1/reload", Operate, |call| Box::pin(daemon::plan_reload(call))),
    post("/v1/reload", Admin, |call| Box::pin(daemon::reload(call))),
    post("/v1/pause", Operate, |call| Box::pin(tasks::act_on_all(call, Act::Pause))),
    post("/v1/resume", Operate, |call| Box::pin(tasks::act_on_all(call, Act::Resume))),
    post("/v1/cancel", Operate, |call| Box::pin(tasks::act_on_all(call, Act::Cancel))),
    get("/v1/prune", Read, |call| Box::pin(prune::plan(call))),
    post("/v1/prune", Admin, |call| Box::pin(prune::prune(call))),
    get("/v1/ledger/check", Operate, |call| Box::pin(ledger::check(call))),
    get("/v1/ledger/snapshots", Read, |call| Box::pin(ledger::snapshots(call))),
    post("/v1/ledger/snapshots", Admin, |call| Box::pin(ledger::backup(call))),
    get("/v1/ledger/snapshots/{snapshot}", Admin, |call| Box::pin(ledger::download(call))),
    get("/v1/schedules", Read, |call| Box::pin(schedules::list(call))),
    get("/v1/exports", Read, |call| Box::pin(exports::list(call))),
    get("/v1/exports/{export}", Read, |call| Box::pin(exports::show(call))),
    post("/v1/exports/{export}/run", Operate, |call| Box::pin(exports::run(call))),
    post("/v1/exports/{export}/pause", Operate, |call| Box::pin(exports::act(call, Act::Pause))),
    post("/v1/exports/{export}/resume", Operate, |call| Box::pin(exports::act(call, Act::Resume))),
    post("/v1/exports/{export}/cancel", Operate, |call| Box::pin(exports::act(call, Act::Cancel))),
    get("/v1/exports/{export}/check", Operate, |call| Box::pin(exports::check(call))),
    get("/v1/exports/{export}/files", Read, |call| Box::pin(files::of_export(call))),
    get("/v1/exports/{export}/offsets", Operate, |call| Box::pin(offsets::of_export(call))),
    Route {
        method: Method::PUT,
        path: "/v1/exports/{export}/offsets",
        access: Admin,
        handler: |call| Box::pin(offsets::set_marks(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/exports/{export}/offsets",
        access: Admin,
        handler: |call| Box::pin(offsets::reset_marks(call)),
    },
    get("/v1/exports/{export}/prune", Read, |call| Box::pin(prune::plan(call))),
    post("/v1/exports/{export}/prune", Admin, |call| Box::pin(prune::prune(call))),
    get("/v1/exports/{export}/schedule", Read, |call| Box::pin(schedules::show(call))),
    get("/v1/exports/{export}/schema", Operate, |call| Box::pin(schema::dry_run(call))),
    get("/v1/exports/{export}/schema/diff", Read, |call| Box::pin(schema::of_export(call))),
    get("/v1/notifications", Read, |call| Box::pin(notifications::list(call))),
    post("/v1/notifications/{notification}/retry", Operate, |call| Box::pin(notifications::retry(call))),
    post("/v1/recipients/{recipient}/test", Operate, |call| Box::pin(notifications::test(call))),
    get("/v1/tasks", Read, |call| Box::pin(tasks::list(call))),
    get("/v1/tasks/{task}", Read, |call| Box::pin(tasks::show(call))),
    get("/v1/tasks/{task}/wait", Read, |call| Box::pin(tasks::wait(call))),
    get("/v1/tasks/{task}/files", Read, |call| Box::pin(files::of_task(call))),
    get("/v1/tasks/{task}/files/{stream}/{name}", Operate, |call| Box::pin(downloads::get(call))),
    get("/v1/tasks/{task}/links/{stream}/{name}", Operate, |call| Box::pin(downloads::link(call))),
    get("/v1/tasks/{task}/offsets", Operate, |call| Box::pin(offsets::show(call))),
    get("/v1/tasks/{task}/schema/diff/{other}", Read, |call| Box::pin(schema::of_tasks(call))),
    Route {
        method: Method::PUT,
        path: "/v1/tasks/{task}/offsets",
        access: Admin,
        handler: |call| Box::pin(offsets::set(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/tasks/{task}/offsets",
        access: Admin,
        handler: |call| Box::pin(offsets::reset(call)),
    },
    post("/v1/tasks/{task}/pause", Operate, |call| Box::pin(tasks::act(call, Act::Pause))),
    post("/v1/tasks/{task}/resume", Operate, |call| Box::pin(tasks::act(call, Act::Resume))),
    post("/v1/tasks/{task}/cancel", Operate, |call| Box::pin(tasks::act(call, Act::Cancel))),
    post("/v1/tasks/{task}/retry", Operate, |call| Box::pin(tasks::act(call, Act::Retry))),
    post("/v1/tasks/{task}/deliver", Operate, |call| Box::pin(deliver::deliver(call))),
    post("/v1/tasks/{task}/verify", Operate, |call| Box::pin(tasks::verify(call))),
];

/// A route, and what stood in the place of each `{…}`.
pub struct Found {
    /// The route.
    pub route: &'static Route,
    /// The segments in place of each `{…}`.
    pub args: Vec<String>,
}

/// Finds the route of a request. The refusals say which paths or methods there are.
pub fn find(method: &Method, segments: &[String]) -> Result<Found, Failure> {
    let mut here = ROUTES.iter().filter_map(|route| Some((route, matches(route.path, segments)?))).peekable();
    if here.peek().is_none() {
        return Err(unknown_path(segments));
    }
    let mut allowed: Vec<&str> = Vec::new();
    for (route, args) in here {
        if route.method == *method {
            return Ok(Found { route, args });
        }
        allowed.push(route.method.as_str());
    }
    let methods = allowed.join(", ");
    let message = format!("/{} does not know {method}, only {methods}", segments.join("/"));
    Err(Failure { allow: Some(methods), ..Failure::new(ErrorCode::MethodNotAllowed, message) })
}

fn unknown_path(segments: &[String]) -> Failure {
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    Failure::new(ErrorCode::NotFound, format!("there is no path /{}", segments.join("/")))
        .hint(format!("there are {}", paths.join(" ")))
}

/// The segments in place of each `{…}`, if the path is one of this pattern.
fn matches(pattern: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut wanted = pattern.split('/').filter(|part| !part.is_empty());
    let mut args = Vec::new();
    for segment in segments {
        let part = wanted.next()?;
        if part.starts_with('{') {
            args.push(segment.clone());
        } else if part != segment {
            return None;
        }
    }
    wanted.next().is_none().then_some(args)
}
