use super::*;

fn patterns(list: &[&str]) -> Vec<TextPattern> {
    list.iter().map(|p| TextPattern::parse(p).unwrap()).collect()
}

#[test]
fn arguments_are_matched_in_order() {
    let args = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
    let fit = |p: &[&str], a: &[&str]| args_match(&patterns(p), &args(a));
    assert_eq!(fit(&["plan", "-out=*"], &["plan", "-out=x"]), Fit::Yes);
    assert_eq!(fit(&["plan", "-out=*"], &["-out=x", "plan"]), Fit::No);
    assert_eq!(fit(&["plan"], &["plan", "-chdir=/"]), Fit::No);
    assert_eq!(fit(&["plan", "**"], &["plan"]), Fit::Yes);
    assert_eq!(fit(&["plan", "**"], &["plan", "a", "b"]), Fit::Yes);
    assert_eq!(fit(&[], &["a"]), Fit::No);
    assert_eq!(fit(&[], &[]), Fit::Yes);
}
