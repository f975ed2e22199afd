use super::*;
use proptest::prelude::*;

fn route(shard: u64, epoch: u64, start: &str, end: Option<&str>, leader: &str) -> Route {
    let range = KeyRange::new(start.to_owned(), end.map(str::to_owned)).unwrap();
    Route {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        table: TableId(1),
        range,
        leader: (!leader.is_empty()).then(|| leader.into()),
        replicas: Vec::new(),
    }
}

fn routes(all: &[Route]) -> Routes {
    Routes(all.iter().cloned().map(Arc::new).collect())
}

fn three() -> Routes {
    routes(&[route(1, 1, "", Some("g"), "a"), route(2, 1, "g", Some("p"), "b"), route(3, 1, "p", None, "")])
}

fn found(routes: &Routes, place: &Place) -> Option<u64> {
    routes.find(place).map(|route| route.shard.0)
}

#[test]
fn a_place_leads_to_its_shard() {
    let key = |key: &'static str| found(&three(), &Place::Key(key.into()));
    assert_eq!(
        [key(""), key("fz"), key("g"), key("oz"), key("p"), key("z")],
        [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3)]
    );
    let before = |end: Option<&'static str>| found(&three(), &Place::Before(end.map(Bytes::from)));
    assert_eq!(
        [before(None), before(Some("p")), before(Some("pa")), before(Some("g"))],
        [Some(3), Some(2), Some(3), Some(1)]
    );
    let gap = routes(&[route(1, 1, "", Some("g"), ""), route(3, 1, "p", Some("q"), "")]);
    assert_eq!(found(&gap, &Place::Key("h".into())), None);
    assert_eq!(found(&gap, &Place::Before(Some("h".into()))), None);
    assert_eq!(found(&gap, &Place::Before(None)), None);
    assert_eq!(found(&Routes::default(), &Place::Key("h".into())), None);
}

#[test]
fn a_new_leader_is_learned_and_an_old_epoch_is_not() {
    let learned = three().learn(route(2, 1, "g", Some("p"), "c")).unwrap();
    assert_eq!(learned.find(&Place::Key("h".into())).unwrap().leader, Some("c".into()));
    let newer = learned.learn(route(2, 2, "g", Some("p"), "d")).unwrap();
    assert_eq!(newer.learn(route(2, 1, "g", Some("p"), "c")), None, "an older epoch");
    assert_eq!(newer.learn(route(2, 2, "g", Some("p"), "d")), None, "nothing new");
}

#[test]
fn half_of_a_split_leaves_a_gap_for_the_other() {
    let learned = three().learn(route(4, 2, "j", Some("p"), "c")).unwrap();
    assert_eq!(found(&learned, &Place::Key("k".into())), Some(4));
    assert_eq!(found(&learned, &Place::Key("h".into())), None, "the old shard ended; describe the table");
    let whole = learned.learn(route(2, 2, "g", Some("j"), "b")).unwrap();
    assert_eq!(found(&whole, &Place::Key("h".into())), Some(2));
    assert_eq!(whole.learn(route(2, 1, "g", Some("p"), "b")), None, "the shard before its split");
}

#[test]
fn a_range_is_cut_by_shard() {
    let range = |start: &'static str, end: Option<&'static str>| KeyRange::new(start, end).unwrap();
    let cut = |range| {
        three()
            .cut(&range)
            .unwrap()
            .into_iter()
            .map(|(route, part)| (route.shard.0, part.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(range("h", Some("p"))), [(2, "[h, p)".to_owned())]);
    assert_eq!(cut(range("f", None)), [(1, "[f, g)".to_owned()), (2, "[g, p)".to_owned()), (3, "[p, ..)".to_owned())]);
    assert_eq!(Routes::default().cut(&KeyRange::all()), None);
}

#[test]
fn descriptions_that_overlap_are_refused() {
    let wire = |shard, start: &'static str, end: Option<&'static str>| v1::Shard {
        shard,
        start: start.into(),
        end: end.map(Bytes::from),
        ..v1::Shard::default()
    };
    assert!(Routes::from_wire(vec![wire(2, "g", None), wire(1, "", Some("g"))]).is_some(), "in any order");
    assert_eq!(Routes::from_wire(vec![wire(1, "", Some("h")), wire(2, "g", None)]), None);
    assert_eq!(Routes::from_wire(vec![wire(1, "h", Some("g"))]), None);
}

#[test]
fn prefixes() {
    assert_eq!(prefix_range(""), KeyRange::all());
    assert_eq!(prefix_range("ab").to_string(), "[ab, ac)");
    assert_eq!(prefix_range(&b"a\xff"[..]).to_string(), "[a\\xff, b)");
    assert_eq!(prefix_range(&b"\xff\xff"[..]).to_string(), "[\\xff\\xff, ..)");
}

proptest! {
    /// Whatever hints come, routes stay in order and apart, and a hint that was taken is found.
    #[test]
    fn routes_never_overlap(hints in proptest::collection::vec((0u64..6, 0u64..4, 0u8..5, 1u8..6), 0..30)) {
        let mut routes = Routes::default();
        for (shard, epoch, start, bytes) in hints {
            let range = KeyRange::new(vec![start], Some(vec![start + bytes])).unwrap();
            let hint = Route { shard: ShardId(shard), epoch: Epoch(epoch), table: TableId(1), range, leader: None, replicas: Vec::new() };
            if let Some(learned) = routes.learn(hint.clone()) {
                prop_assert_eq!(&**learned.find(&Place::Key(vec![start].into())).unwrap(), &hint);
                routes = learned;
            }
            prop_assert!(routes.0.windows(2).all(|pair| pair[0].range.end().is_some_and(|end| end <= pair[1].range.start())));
        }
    }

    #[test]
    fn a_prefix_range_holds_what_begins_with_it(prefix: Vec<u8>, key: Vec<u8>) {
        prop_assert_eq!(prefix_range(prefix.clone()).contains(&key), key.starts_with(&prefix));
    }
}
