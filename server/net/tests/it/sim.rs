//! Faults of the simulated network do what they say, and a run is a function of its seed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lentic_net::sim::{Happening, SimKnobs, SimNetwork};
use lentic_net::{Address, Class, DialError, Link, Network};
use lentic_runtime::{Random, Scope};
use tokio::runtime::{Builder, RngSeed};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use crate::stand::{Echo, HandOver, recv, send};

const STEADY: SimKnobs = SimKnobs {
    delay_ms_min: 1,
    delay_ms_max: 1,
    late_per_million: 0,
    late_ms_max: 0,
    reset_per_million: 0,
    cut_ms_max: 5_000,
    dial_ms_max: 2_000,
};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Two hosts: one dials, the other hands links over.
struct Two {
    net: SimNetwork,
    here: Address,
    there: Address,
    links: UnboundedReceiver<(Class, Link)>,
}

impl Two {
    fn new(knobs: SimKnobs) -> Self {
        let random = Random::seeded(7);
        let net = SimNetwork::new(&random, knobs);
        let (here, there) = (Address::from("http://here:1"), Address::from("http://there:1"));
        let (accept, links) = HandOver::new();
        net.start(&there, Scope::new(random), Arc::new(accept));
        Self { net, here, there, links }
    }

    async fn dial(&self) -> Result<Link, DialError> {
        self.net.for_host(&self.here).dial(&self.there, Class::Append).await
    }

    async fn link(&mut self) -> (Link, Link) {
        let here = self.dial().await.unwrap();
        (here, self.links.recv().await.unwrap().1)
    }
}

/// What arrives within `ms` milliseconds.
async fn within(count: u64, link: &mut Link) -> Option<Option<String>> {
    timeout(ms(count), recv(link)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn frames_take_their_time_all_at_once() {
    let mut two = Two::new(SimKnobs { delay_ms_min: 10, delay_ms_max: 10, ..STEADY });
    let started = Instant::now();
    let (here, mut there) = two.link().await;
    assert_eq!(started.elapsed(), ms(20), "dialling goes there and back");
    for _ in 0..100 {
        send(&here, "x").await;
    }
    for _ in 0..100 {
        recv(&mut there).await.unwrap();
    }
    assert_eq!(started.elapsed(), ms(30), "frames do not wait for each other");
    assert_eq!(two.net.counts().frames, 100);
}

#[tokio::test(start_paused = true)]
async fn late_frames_are_not_overtaken() {
    let mut two = Two::new(SimKnobs { late_per_million: 200_000, late_ms_max: 500, ..STEADY });
    let (here, mut there) = two.link().await;
    for number in 0..200 {
        send(&here, &number.to_string()).await;
        sleep(ms(1)).await;
    }
    for number in 0..200 {
        assert_eq!(recv(&mut there).await.unwrap(), number.to_string());
    }
    assert!((20..80).contains(&two.net.counts().frames_late), "{:?}", two.net.counts());
}

#[tokio::test(start_paused = true)]
async fn a_cut_one_way_blocks_one_way() {
    let mut two = Two::new(STEADY);
    let (mut here, mut there) = two.link().await;
    two.net.cut_one_way(&two.here, &two.there);
    send(&here, "held").await;
    send(&there, "through").await;
    assert_eq!(within(10, &mut here).await.flatten().as_deref(), Some("through"));
    assert_eq!(within(4_000, &mut there).await, None);
    assert_eq!(two.net.counts().frames_held, 1);
    two.net.heal(&two.here, &two.there);
    let held = within(4_100, &mut there).await.flatten();
    assert_eq!(held.as_deref(), Some("held"), "healed in time, the link goes on");
    two.net.cut_one_way(&two.here, &two.there);
    assert_eq!(within(4_500, &mut there).await, None, "patience begins anew with each cut");
    assert_eq!(two.net.counts().links_cut, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_cut_has_held_back_comes_later_on_each_link_at_a_moment_of_its_own() {
    let mut two = Two::new(STEADY);
    let mut links = Vec::new();
    for _ in 0..20 {
        links.push(two.link().await);
    }
    two.net.cut_one_way(&two.here, &two.there);
    for (here, _) in &links {
        send(here, "held").await;
    }
    sleep(ms(1_000)).await;
    two.net.heal(&two.here, &two.there);
    let healed = Instant::now();
    let arrivals = links.into_iter().map(|(here, mut there)| {
        tokio::spawn(async move {
            send(&here, "behind").await;
            assert_eq!(recv(&mut there).await.as_deref(), Some("held"));
            let arrived = healed.elapsed();
            assert_eq!(recv(&mut there).await.as_deref(), Some("behind"), "the order stays");
            arrived
        })
    });
    let mut moments = BTreeSet::new();
    for arrival in arrivals.collect::<Vec<_>>() {
        moments.insert(arrival.await.unwrap());
    }
    assert!(moments.len() > 15 && *moments.last().unwrap() <= ms(1_000), "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_lasts_breaks_links_at_both_ends_also_idle_ones() {
    let mut two = Two::new(STEADY);
    for one_way in [(&two.here.clone(), &two.there.clone()), (&two.there.clone(), &two.here.clone())] {
        let (mut here, mut there) = two.link().await;
        sleep(ms(10)).await;
        let cut_at = Instant::now();
        two.net.cut_one_way(one_way.0, one_way.1);
        assert_eq!(recv(&mut here).await, None);
        assert_eq!(recv(&mut there).await, None);
        assert_eq!(cut_at.elapsed(), ms(5_000));
        assert_eq!(here.receiver.reason(), Some("it was cut for too long"));
        assert!(here.sender.is_closed() && there.sender.is_closed());

        let dialled_at = Instant::now();
        let error = two.dial().await.unwrap_err();
        assert_eq!((dialled_at.elapsed(), &*error.reason), (ms(2_000), "it does not answer"));
        let healing = async {
            sleep(ms(1_500)).await;
            two.net.heal_all();
        };
        assert!(tokio::join!(two.dial(), healing).0.is_ok(), "healed in time, dialling succeeds");
        two.links.recv().await.unwrap();
    }
    assert_eq!((two.net.counts().links_cut, two.net.counts().dials_cut), (2, 2));
    sleep(ms(10)).await;
    assert_eq!(two.net.links(), 0, "links that are gone are forgotten");
}

#[tokio::test(start_paused = true)]
async fn no_news_passes_a_cut() {
    let mut two = Two::new(STEADY);
    let (here, mut there) = two.link().await;
    two.net.cut(&two.here, &two.there);
    drop(here);
    assert_eq!(within(4_000, &mut there).await, None);
    assert!(!there.sender.is_closed());
    two.net.heal(&two.here, &two.there);
    assert_eq!(within(4_100, &mut there).await, Some(None));

    let (here, there) = two.link().await;
    two.net.cut_one_way(&two.there, &two.here);
    drop(there);
    assert!(timeout(ms(4_000), here.sender.closed()).await.is_err());
    two.net.heal_all();
    assert!(timeout(ms(10), here.sender.closed()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_links_and_a_restart_takes_new_ones() {
    let mut two = Two::new(STEADY);
    let (mut here, _there) = two.link().await;
    send(&here, "lost").await;
    tokio::task::yield_now().await;
    two.net.crash(&two.there);
    assert_eq!(within(1, &mut here).await, Some(None));
    assert_eq!(here.receiver.reason(), Some("the host crashed"));
    assert_eq!(two.dial().await.unwrap_err().reason, "the connection was refused");
    let (accept, links) = HandOver::new();
    two.net.start(&two.there, Scope::new(Random::seeded(1)), Arc::new(accept));
    two.links = links;
    let (here, mut there) = two.link().await;
    send(&here, "again").await;
    assert_eq!(recv(&mut there).await.unwrap(), "again");
    let counts = two.net.counts();
    assert_eq!((counts.links_broken, counts.dials_refused, counts.frames_lost), (1, 1, 1));

    two.net.crash(&two.here);
    assert_eq!(within(1, &mut there).await, Some(None), "who dialled can crash too");
    assert_eq!(two.dial().await.unwrap_err().reason, "the connection was refused", "and dials no more");
    two.net.start(&two.here, Scope::new(Random::seeded(1)), Arc::new(Echo));
    assert!(two.dial().await.is_ok(), "until it is back");
}

#[tokio::test(start_paused = true)]
async fn who_was_not_there_in_time_was_not_there() {
    let two = Two::new(SimKnobs { delay_ms_min: 10, delay_ms_max: 10, ..STEADY });
    let late = Address::from("http://late:1");
    let starting = async {
        sleep(ms(15)).await;
        two.net.start(&late, Scope::new(Random::seeded(1)), Arc::new(Echo));
    };
    let network = two.net.for_host(&two.here);
    assert!(tokio::join!(network.dial(&late, Class::Pipe), starting).0.is_err());
    assert!(network.dial(&late, Class::Pipe).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crash_behind_a_cut_is_not_seen() {
    let mut two = Two::new(STEADY);
    let (mut here, there) = two.link().await;
    two.net.cut(&two.here, &two.there);
    two.net.crash(&two.there);
    drop(there);
    assert_eq!(within(4_900, &mut here).await, None);
    assert_eq!(within(200, &mut here).await, Some(None));
}

#[tokio::test(start_paused = true)]
async fn broken_links_lose_what_is_on_its_way() {
    let mut two = Two::new(SimKnobs { delay_ms_min: 50, delay_ms_max: 50, ..STEADY });
    let (mut here, mut there) = two.link().await;
    send(&here, "first").await;
    sleep(ms(30)).await;
    send(&here, "second").await;
    sleep(ms(30)).await;
    assert_eq!(two.net.break_links(&two.there, &two.here), 1);
    assert_eq!(recv(&mut there).await.as_deref(), Some("first"));
    assert_eq!((recv(&mut there).await, there.receiver.reason()), (None, Some("it was broken")));
    assert_eq!(recv(&mut here).await, None);
    assert_eq!((two.net.counts().frames_lost, two.net.counts().links_broken), (1, 1));
    assert_eq!(two.net.break_links(&two.there, &two.here), 0);
}

#[tokio::test(start_paused = true)]
async fn resets_by_chance_leave_whole_frames_and_no_gaps() {
    let mut two = Two::new(SimKnobs { reset_per_million: 20_000, ..STEADY });
    let mut lengths = Vec::new();
    for _ in 0..50 {
        let (here, mut there) = two.link().await;
        let sender = tokio::spawn(async move {
            for number in 0u32.. {
                if here.sender.send(Bytes::from(number.to_string().repeat(100))).await.is_err() {
                    return;
                }
                sleep(ms(1)).await;
            }
        });
        let mut next = 0u32;
        while let Some(text) = recv(&mut there).await {
            assert_eq!(text, next.to_string().repeat(100));
            next += 1;
        }
        lengths.push(next);
        sender.await.unwrap();
    }
    assert_eq!(two.net.counts().links_reset, 50);
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 20, "they break at all places: {lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_path_takes_long() {
    let mut two = Two::new(STEADY);
    two.net.set_rate(&two.here, &two.there, Some(100_000));
    let (mut here, mut there) = two.link().await;
    let started = Instant::now();
    for _ in 0..10 {
        here.sender.send(Bytes::from(vec![b'x'; 100_000])).await.unwrap();
    }
    send(&there, "fast").await;
    recv(&mut here).await.unwrap();
    assert!(started.elapsed() < ms(5));
    for _ in 0..10 {
        recv(&mut there).await.unwrap();
    }
    assert_eq!(started.elapsed(), ms(10_001));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_back_who_writes() {
    let mut two = Two::new(STEADY);
    let (here, mut there) = two.link().await;
    let frame = Bytes::from(vec![1; 256 << 10]);
    let mut sent = 0;
    while let Ok(done) = timeout(ms(1_000), here.sender.send(frame.clone())).await {
        done.unwrap();
        sent += 1;
        assert!(sent <= 64, "two queues and what is on its way");
    }
    for _ in 0..sent {
        there.receiver.recv().await.unwrap();
    }
    send(&here, "goes on").await;
    assert_eq!(recv(&mut there).await.unwrap(), "goes on");
}

/// The events of a scenario with faults.
fn trace(seed: u64) -> Vec<String> {
    let work = move || {
        let mut builder = Builder::new_current_thread();
        let runtime =
            builder.enable_all().start_paused(true).rng_seed(RngSeed::from_bytes(&seed.to_be_bytes())).build();
        runtime.unwrap().block_on(scenario(seed))
    };
    // A thread of its own: nothing is left over from another run.
    std::thread::spawn(work).join().unwrap()
}

async fn scenario(seed: u64) -> Vec<String> {
    let random = Random::seeded(seed);
    let knobs = SimKnobs { late_per_million: 50_000, reset_per_million: 2_000, cut_ms_max: 100, ..SimKnobs::default() };
    let net = SimNetwork::new(&random, knobs);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = lines.clone();
    net.on_event(move |event| {
        let digest = match &event.what {
            Happening::Delivered(frame) => frame.iter().map(|byte| u64::from(*byte)).sum(),
            _ => 0,
        };
        written.lock().unwrap().push(format!("{:?} {event} {digest}", event.at));
    });
    let hosts: Vec<_> = (0..4).map(|n| Address::from(&*format!("http://n{n}:1"))).collect();
    let scope = Scope::new(Random::seeded(random.next_seed()));
    let mut talkers = Vec::new();
    for host in &hosts {
        net.start(host, scope.clone(), Arc::new(Echo));
        for to in hosts.iter().cloned() {
            talkers.push(scope.spawn(talk(net.for_host(host), to)));
        }
    }
    for _ in 0..20 {
        let host = || hosts.iter().cycle().nth(usize::from(random.next_seed().to_be_bytes()[0])).unwrap();
        let (a, b) = (host(), host());
        match random.next_seed() % 5 {
            0 => net.cut(a, b),
            1 => net.cut_one_way(a, b),
            2 => _ = net.break_links(a, b),
            3 => {
                net.crash(a);
                sleep(ms(20)).await;
                net.start(a, scope.clone(), Arc::new(Echo));
            }
            _ => net.heal_all(),
        }
        sleep(ms(random.next_seed() % 100)).await;
    }
    scope.abort();
    let counts = net.counts();
    assert!(counts.links_broken > 0 && counts.frames > 1_000, "{counts:?}");
    let lines = lines.lock().unwrap();
    lines.clone()
}

/// Sends and receives for ever.
async fn talk(network: Arc<dyn Network>, to: Address) {
    for number in 0usize.. {
        let Ok(mut link) = network.dial(&to, Class::Control).await else {
            sleep(ms(10)).await;
            continue;
        };
        for part in 0..number % 50 {
            if link.sender.send(Bytes::from(vec![1; part])).await.is_err() || link.receiver.recv().await.is_none() {
                break;
            }
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let mut before = Vec::new();
    for seed in 0..4 {
        let (first, second) = (trace(seed), trace(seed));
        if let Some(at) = first.iter().zip(&second).position(|(a, b)| a != b) {
            panic!("seed {seed}, event {at}: {} and {}", first[at], second[at]);
        }
        assert_eq!(first.len(), second.len());
        assert_ne!(first, before, "another seed is another run");
        before = first;
    }
}
