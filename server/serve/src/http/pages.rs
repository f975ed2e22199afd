//! What is on each page.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use lentic_runtime::blocking;
use serde_json::json;

use super::probe::Probe;
use super::render;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const FRONT: &str = "\
This is a Lentic node. These pages are for operators; data is served over gRPC, on another port.

/metrics   figures, in the text format of Prometheus
/healthz   200 while nothing has stopped that needs a person
/readyz    200 while the node can serve; else why not
";

/// The answer to a request. Its body, if it has one, is not looked at.
pub(super) fn answer<B>(probe: &dyn Probe, request: &Request<B>) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "these pages are only read: use GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => page(StatusCode::OK, TEXT, FRONT),
        "/healthz" => state("healthy", "faults", &blocking(|| probe.faults())),
        "/readyz" => state("ready", "reasons", &blocking(|| probe.not_ready())),
        "/metrics" => match blocking(|| render::text_with_process(&probe.metrics())) {
            Ok(text) => page(StatusCode::OK, render::CONTENT_TYPE, text),
            Err(reason) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{reason}\n")),
        },
        _ => page(StatusCode::NOT_FOUND, TEXT, "no such page; / says what is where\n"),
    }
}

/// Whether something is so, and why not.
fn state(what: &str, why: &str, reasons: &[String]) -> Response<Full<Bytes>> {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(status, JSON, format!("{}\n", json!({ what: reasons.is_empty(), why: reasons })))
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // What was true a moment ago is of no use, and no browser shall take a text for more than that.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
