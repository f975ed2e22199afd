//! Answers of unary calls on their way to callers, bounded when callers do not read.
//!
//! HTTP/2 holds an answer back until its caller has room for it. A handler gives its answer a [`Held`] of the budget,
//! which travels with the response as an extension; here it is tied to the response's body, so that the room is free
//! again when the body is sent or given up.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;

use super::answers::Held;

/// What a response carries from its handler to here.
#[derive(Clone)]
pub(super) struct Carried {
    _held: Arc<Held>,
}

impl Carried {
    pub(super) fn new(held: Held) -> Self {
        Self { _held: Arc::new(held) }
    }
}

/// A service whose responses hold room until they are sent.
#[derive(Clone)]
pub(crate) struct Guarded<S>(pub(crate) S);

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            Ok(match response.extensions_mut().remove::<Carried>() {
                None => response,
                Some(carried) => response.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        // The room goes with the body, of which this is a part.
                        let _ = &carried;
                        frame
                    }))
                }),
            })
        })
    }
}
