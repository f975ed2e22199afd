//! Merge operators.

use bytes::Bytes;
use lentic_types::ErrorKind;

use super::{ok, refused, table};
use crate::client::Client;
use crate::merge::{MergeOperator, decode_set, encode_set};

fn i(value: i64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn f(value: f64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

pub(super) async fn operators_fold(client: Client) {
    let table = table(&client, "folds").await;
    let set = |members: &[&'static [u8]]| encode_set(members.iter().copied());
    let rows: Vec<(MergeOperator, [Bytes; 3], Bytes)> = vec![
        (MergeOperator::AddI64, [i(40), i(-3), i(5)], i(42)),
        (MergeOperator::AddI64, [i(i64::MAX), i(1), i(0)], i(i64::MIN)),
        (MergeOperator::AddF64, [f(0.5), f(0.25), f(-1.0)], f(-0.25)),
        (MergeOperator::MinI64, [i(3), i(-1), i(7)], i(-1)),
        (MergeOperator::MaxI64, [i(3), i(-1), i(7)], i(7)),
        (MergeOperator::MinF64, [f(0.0), f(-0.0), f(1.0)], f(-0.0)),
        (MergeOperator::MaxF64, [f(-1.0), f(3.0), f(2.0)], f(3.0)),
        (MergeOperator::MinBytes, ["b".into(), "a".into(), "ab".into()], "a".into()),
        (MergeOperator::MaxBytes, ["b".into(), "ba".into(), "a".into()], "ba".into()),
        (MergeOperator::Append, ["a".into(), "".into(), "bc".into()], "abc".into()),
        (MergeOperator::SetUnion, [set(&[b"a", b"c"]), set(&[b""]), set(&[b"b", b"c"])], set(&[b"", b"a", b"b", b"c"])),
    ];
    for (row, (operator, operands, expected)) in rows.into_iter().enumerate() {
        let key = format!("{operator} {row}");
        let first = operands[0].clone();
        for (place, operand) in operands.into_iter().enumerate() {
            let at = ok(table.merge(key.clone(), operator, operand).await);
            let found = ok(table.get(key.clone()).await).expect("it was merged into");
            assert_eq!(found.version, at);
            assert!(place > 0 || found.value == first, "{operator} onto nothing is the operand");
        }
        assert_eq!(ok(table.get(key).await).expect("it was merged into").value, expected, "{operator}");
    }
    ok(table.add_i64("sum", 2).await);
    ok(table.add_i64("sum", 3).await);
    assert_eq!(ok(table.get("sum").await).and_then(|found| found.as_i64()), Some(5));
}

pub(super) async fn merges_refuse_other_kinds(client: Client) {
    let table = table(&client, "kinds").await;
    ok(table.put("text", "text").await);
    for operator in [MergeOperator::AddI64, MergeOperator::AddF64, MergeOperator::MinI64, MergeOperator::MaxF64] {
        refused(table.merge("text", operator, i(1)).await, ErrorKind::WrongKind);
        refused(table.merge("none", operator, "1").await, ErrorKind::WrongKind);
    }
    refused(table.merge("none", MergeOperator::SetUnion, "\x05a").await, ErrorKind::WrongKind);
    assert_eq!(ok(table.get("none").await), None, "nothing of it is stored");
    assert_eq!(ok(table.get("text").await).map(|found| found.value), Some("text".into()));
}

pub(super) async fn merges_grow_values(client: Client) {
    let table = table(&client, "grow").await;
    let (part, mut expected) = (vec![b'x'; 100], Vec::new());
    for round in 0..40u8 {
        let operand = [&[round][..], &part].concat();
        ok(table.merge("text", MergeOperator::Append, operand.clone()).await);
        ok(table.merge("set", MergeOperator::SetUnion, encode_set([&operand[..]])).await);
        expected.extend(operand);
    }
    assert_eq!(ok(table.get("text").await).map(|found| found.value), Some(expected.into()));
    let set = ok(table.get("set").await).expect("it was merged into").value;
    assert_eq!(decode_set(&set).map(|members| members.len()), Some(40));
}
