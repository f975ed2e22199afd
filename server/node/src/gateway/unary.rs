//! Unary calls, for callers that keep no pipe and no routes: the same handlers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lentic_engine::Portable;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_runtime::spawn;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request as Call, Response as Reply, Status};

use super::Gateway;
use super::answers::{Budget, Held, unread};
use super::guarded::Carried;
use super::pipe::Caller;
use crate::failure;

/// Pages of a scan that wait for a slow reader.
const PAGES_WAITING_MAX: usize = 1;

impl<S: Portable> Gateway<S> {
    /// Answers a call as if it had come through a pipe; the answer, with the room that it takes until it is sent.
    async fn ask_anyone(&self, budget: &Arc<Budget>, request: Request) -> Result<(Response, Held), Failure> {
        let deadline = Instant::now() + self.options.deadline;
        let turn = self.calls.turn(&request, budget).await?;
        let response = turn.cover(self.answer(request, Caller::Client, deadline)).await?;
        let held = budget.hold(response.encoded_len()).ok_or_else(unread)?;
        Ok((response, held))
    }

    async fn scan_pages(
        &self,
        budget: &Arc<Budget>,
        mut request: v1::ScanRequest,
        pages: &mpsc::Sender<Page>,
    ) -> Result<(), Failure> {
        let limit = request.limit;
        loop {
            let (Response::Scan(mut page), held) = self.ask_anyone(budget, Request::Scan(request.clone())).await?
            else {
                return Err(failure::internal("a scan was answered by something else"));
            };
            let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
            request.at = Some(page.at);
            if limit > 0 {
                request.limit = request.limit.saturating_sub(rows);
                page.rest = page.rest.filter(|_| request.limit > 0);
            }
            let rest = page.rest.clone();
            if pages.send(Ok((page, held))).await.is_err() {
                return Ok(());
            }
            let Some(rest) = rest else { return Ok(()) };
            (request.start, request.end) = (rest.start, rest.end);
        }
    }
}

/// A page of a scan, with the room that it takes.
type Page = Result<(v1::ScanResponse, Held), Failure>;

/// The pages of a scan as they are read. The room of a page is held until the next one is asked for: HTTP/2 asks when it
/// has sent what it had.
struct Pages {
    pages: ReceiverStream<Page>,
    held: Option<Held>,
}

impl Stream for Pages {
    type Item = Result<v1::ScanResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        drop(self.held.take());
        Pin::new(&mut self.pages).poll_next(context).map(|page| match page? {
            Ok((page, held)) => {
                self.held = Some(held);
                Some(Ok(page))
            }
            Err(failure) => Some(Err(failure.into())),
        })
    }
}

macro_rules! answer {
    ($gateway:ident, $call:ident, $kind:ident) => {{
        let budget = $gateway.calls.budget_of($call.remote_addr());
        match $gateway.ask_anyone(&budget, Request::$kind($call.into_inner())).await {
            Ok((Response::$kind(response), held)) => {
                let mut reply = Reply::new(response);
                reply.extensions_mut().insert(Carried::new(held));
                Ok(reply)
            }
            Ok(_) => Err(Status::from(failure::internal("the request was answered by something else"))),
            Err(failure) => Err(Status::from(failure)),
        }
    }};
}

#[tonic::async_trait]
impl<S: Portable> v1::kv_server::Kv for Gateway<S> {
    async fn write(&self, call: Call<v1::WriteRequest>) -> Result<Reply<v1::WriteResponse>, Status> {
        answer!(self, call, Write)
    }

    async fn transact(&self, call: Call<v1::TransactRequest>) -> Result<Reply<v1::TransactResponse>, Status> {
        answer!(self, call, Transact)
    }

    async fn get(&self, call: Call<v1::GetRequest>) -> Result<Reply<v1::GetResponse>, Status> {
        answer!(self, call, Get)
    }

    async fn multi_get(&self, call: Call<v1::MultiGetRequest>) -> Result<Reply<v1::MultiGetResponse>, Status> {
        answer!(self, call, MultiGet)
    }

    type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanResponse, Status>> + Send>>;

    async fn scan(&self, call: Call<v1::ScanRequest>) -> Result<Reply<Self::ScanStream>, Status> {
        let (pages, receiver) = mpsc::channel(PAGES_WAITING_MAX);
        let gateway = self.clone();
        let budget = self.calls.budget_of(call.remote_addr());
        spawn(async move {
            if let Err(failure) = gateway.scan_pages(&budget, call.into_inner(), &pages).await {
                // A reader that is gone needs no reason.
                let _ = pages.send(Err(failure)).await;
            }
        });
        Ok(Reply::new(Box::pin(Pages { pages: ReceiverStream::new(receiver), held: None })))
    }

    async fn diff(&self, call: Call<v1::DiffRequest>) -> Result<Reply<v1::DiffResponse>, Status> {
        answer!(self, call, Diff)
    }

    async fn feed(&self, call: Call<v1::FeedRequest>) -> Result<Reply<v1::FeedResponse>, Status> {
        answer!(self, call, Feed)
    }
}

/// A service all of whose calls any node answers.
macro_rules! ask_anyone {
    ($service:path: $($name:ident($request:ty) -> $response:ty as $kind:ident;)*) => {
        #[tonic::async_trait]
        impl<S: Portable> $service for Gateway<S> {
            $(async fn $name(&self, call: Call<$request>) -> Result<Reply<$response>, Status> {
                answer!(self, call, $kind)
            })*
        }
    };
}

ask_anyone! { v1::tables_server::Tables:
    create(v1::CreateTableRequest) -> v1::CreateTableResponse as CreateTable;
    branch(v1::BranchRequest) -> v1::BranchResponse as Branch;
    drop(v1::DropTableRequest) -> v1::DropTableResponse as DropTable;
    describe(v1::DescribeTableRequest) -> v1::DescribeTableResponse as DescribeTable;
    list(v1::ListTablesRequest) -> v1::ListTablesResponse as ListTables;
}

ask_anyone! { v1::owners_server::Owners:
    take(v1::TakeRequest) -> v1::TakeResponse as Take;
    release(v1::ReleaseRequest) -> v1::ReleaseResponse as Release;
    checkpoint(v1::CheckpointRequest) -> v1::CheckpointResponse as Checkpoint;
    last_checkpoint(v1::LastCheckpointRequest) -> v1::LastCheckpointResponse as LastCheckpoint;
    owned(v1::OwnedRequest) -> v1::OwnedResponse as Owned;
}

ask_anyone! { v1::snapshots_server::Snapshots:
    create(v1::CreateSnapshotRequest) -> v1::CreateSnapshotResponse as CreateSnapshot;
    show(v1::ShowSnapshotRequest) -> v1::ShowSnapshotResponse as ShowSnapshot;
    list_pins(v1::ListPinsRequest) -> v1::ListPinsResponse as ListPins;
    drop_pin(v1::DropPinRequest) -> v1::DropPinResponse as DropPin;
    renew_pin(v1::RenewPinRequest) -> v1::RenewPinResponse as RenewPin;
    history(v1::HistoryRequest) -> v1::HistoryResponse as History;
}

ask_anyone! { v1::cluster_server::Cluster:
    status(v1::StatusRequest) -> v1::StatusResponse as Status;
    issue_client(v1::IssueClientRequest) -> v1::IssueClientResponse as IssueClient;
    now(v1::NowRequest) -> v1::NowResponse as Now;
    transfer_leader(v1::TransferLeaderRequest) -> v1::TransferLeaderResponse as TransferLeader;
    balance(v1::BalanceRequest) -> v1::BalanceResponse as Balance;
    move_replica(v1::MoveReplicaRequest) -> v1::MoveReplicaResponse as MoveReplica;
    split_shard(v1::SplitShardRequest) -> v1::SplitShardResponse as SplitShard;
    set_node_state(v1::SetNodeStateRequest) -> v1::SetNodeStateResponse as SetNodeState;
    join(v1::JoinRequest) -> v1::JoinResponse as Join;
}
