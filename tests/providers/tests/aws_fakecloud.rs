//! `provider-aws` behind a load balancer that nobody on the project wrote: fakecloud checks the containers, shares requests out
//! by the weights of the rules, and verifies the signature of every request to it. ECS is MiniStack's, on a real Docker engine.
//! A long run, and long to set up: `cargo xtask test-providers --only fakecloud`.

use basb_e2e::Mcp;
use basb_providers_e2e::aws::{AwsLab, documented_policy};
use basb_providers_e2e::suite::{self, SERVICES, Site};

#[test]
fn the_example_behind_fakecloud() {
    let Some(aws) = AwsLab::behind_fakecloud(&SERVICES, &documented_policy()) else { return };
    suite::second_brain(&aws);

    // What leads users is the rule's weights and nothing else: a tenth of the calls, one block of them after the other, since
    // that is how fakecloud counts.
    let gate = suite::example(&aws.sections()).replace("- setWeight: 10\n", "- setWeight: 10\n        - pause: {}\n");
    aws.lab.write_text(&gate);
    aws.host(&["plugin", "update", "canary", "--accept"]).exits(0);
    let id = aws.run(1).exits(4).events().run();
    let client = Mcp::new(aws.ports[0].1);
    let of_first = (0..1000).filter(|_| client.release() == Ok(1)).count();
    assert!((99..=101).contains(&of_first), "{of_first} of 1000");
    suite::to_its_end(&aws, &["--json", "abort", &id]).exits(3);
    assert_eq!(client.release(), Ok(2));
}
