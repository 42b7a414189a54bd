use super::*;

#[test]
fn every_pair_is_compared_and_judged() {
    let outputs = vec![("a", vec![1.0, 2.0]), ("b", vec![1.0, 2.00001]), ("c", vec![1.0, 2.1])];
    let found: Vec<_> = compare(&outputs, 1, 2).unwrap().iter().map(|c| (c.reference, c.other, c.passed)).collect();
    assert_eq!(found, [("a", "b", true), ("a", "c", false), ("b", "c", false)]);
}

#[test]
fn another_top_class_fails_however_close() {
    let outputs = vec![("a", vec![1.0, 1.000_01]), ("b", vec![1.000_01, 1.0])];
    assert!(!compare(&outputs, 1, 2).unwrap()[0].passed);
}
