//! What holds of every link, whatever carries it. Each test runs over gRPC and over the simulated network.

use bytes::Bytes;
use lentic_net::grpc::GrpcNetwork;
use lentic_net::sim::{SimKnobs, SimNetwork};
use lentic_net::{Address, Class, Link, LinkClosed, Network};
use lentic_runtime::{Random, Scope};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::stand::{HandOver, Stand, recv, send, soon};

/// Someone to dial, and the links as they are accepted.
struct Bed {
    network: Arc<dyn Network>,
    address: Address,
    links: UnboundedReceiver<(Class, Link)>,
    _stand: Option<Stand>,
}

impl Bed {
    async fn grpc() -> Self {
        let (accept, links) = HandOver::new();
        let stand = Stand::new(accept).await;
        Self { network: Arc::new(GrpcNetwork::new()), address: stand.address.clone(), links, _stand: Some(stand) }
    }

    fn sim() -> Self {
        let (accept, links) = HandOver::new();
        let random = Random::seeded(1);
        let network = SimNetwork::new(&random, SimKnobs { late_per_million: 100_000, ..SimKnobs::default() });
        let address = Address::from("http://there:1");
        network.start(&address, Scope::new(random), Arc::new(accept));
        Self { network: network.for_host(&Address::from("http://here:1")), address, links, _stand: None }
    }

    /// A link's two ends: the one that dialled, the one that accepted.
    async fn link(&mut self, class: Class) -> (Link, Link) {
        let here = soon("dialling", self.network.dial(&self.address, class)).await.unwrap();
        let (found, there) = soon("accepting", self.links.recv()).await.unwrap();
        assert_eq!(found, class);
        (here, there)
    }
}

macro_rules! contract {
    ($($rule:ident),* $(,)?) => {
        mod grpc {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::Bed::grpc().await).await;
            })*
        }

        mod sim {
            $(#[tokio::test(start_paused = true)]
            async fn $rule() {
                super::$rule(super::Bed::sim()).await;
            })*
        }
    };
}

contract!(
    each_class_is_a_link_of_its_own,
    frames_keep_their_order,
    who_has_said_all_still_gets_answers,
    a_dropped_link_is_gone_at_the_other_end,
    a_frame_that_is_too_large_ends_the_link_with_the_reason,
);

async fn each_class_is_a_link_of_its_own(mut bed: Bed) {
    for class in Class::ALL {
        let (mut here, mut there) = bed.link(class).await;
        send(&here, "ask").await;
        assert_eq!(recv(&mut there).await.unwrap(), "ask");
        send(&there, "answer").await;
        assert_eq!(recv(&mut here).await.unwrap(), "answer");
    }
}

async fn frames_keep_their_order(mut bed: Bed) {
    let (here, mut there) = bed.link(Class::Append).await;
    let frame = |number: u32| Bytes::from([number.to_be_bytes().to_vec(), vec![7; number as usize % 900]].concat());
    let count = 3_000;
    let sender = here.sender;
    tokio::spawn(async move {
        for number in 0..count {
            sender.send(frame(number)).await.unwrap();
        }
    });
    let mut frames = Vec::new();
    while soon("a frame", there.receiver.recv_many(&mut frames, 100)).await > 0 {}
    assert!(frames.into_iter().eq((0..count).map(frame)), "all that was sent arrives before the end");
}

async fn who_has_said_all_still_gets_answers(mut bed: Bed) {
    let (mut here, mut there) = bed.link(Class::Pipe).await;
    send(&here, "ask").await;
    drop(here.sender);
    assert_eq!(recv(&mut there).await.unwrap(), "ask");
    assert_eq!(recv(&mut there).await, None);
    send(&there, "answer").await;
    assert_eq!(soon("the answer", here.receiver.recv()).await.unwrap(), "answer");
    drop(there);
    assert_eq!(soon("the end", here.receiver.recv()).await, None);
    assert_eq!(here.receiver.reason(), None, "nobody broke it");
}

async fn a_dropped_link_is_gone_at_the_other_end(mut bed: Bed) {
    for dropped in ["dialling", "accepting", "accepting sender", "accepting receiver", "dialling receiver"] {
        let (here, there) = bed.link(Class::Control).await;
        let (leaving, mut other) = if dropped.starts_with("dialling") { (here, there) } else { (there, here) };
        send(&leaving, "last").await;
        let Link { sender, receiver } = leaving;
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        if !dropped.ends_with("receiver") {
            drop(sender.take());
        }
        if !dropped.ends_with("sender") {
            drop(receiver.take());
        }
        assert_eq!(recv(&mut other).await.as_deref(), Some("last"), "{dropped}: what was sent before arrives");
        assert_eq!(recv(&mut other).await, None, "{dropped}");
        soon(dropped, other.sender.closed()).await;
        assert_eq!(other.sender.send(Bytes::new()).await, Err(LinkClosed), "{dropped}");
    }
}

async fn a_frame_that_is_too_large_ends_the_link_with_the_reason(mut bed: Bed) {
    let large = Bytes::from(vec![0; Class::Control.frame_bytes_max() + 1]);
    let (found, expected) = (large.len(), large.len() - 1);
    let said = format!("a frame of class Control has {found} bytes, expected {expected} at most; send it in parts");

    let (mut here, mut there) = bed.link(Class::Control).await;
    here.sender.send(large.clone()).await.unwrap();
    assert_eq!((recv(&mut here).await, here.receiver.reason()), (None, Some(&*said)));
    assert_eq!(recv(&mut there).await, None);

    let (mut here, mut there) = bed.link(Class::Control).await;
    there.sender.send(large).await.unwrap();
    assert_eq!((recv(&mut there).await, there.receiver.reason()), (None, Some(&*said)));
    assert_eq!((recv(&mut here).await, here.receiver.reason()), (None, Some(&*said)));
}
