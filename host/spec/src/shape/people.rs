//! Groups of services, and who must agree, as they are written.

use crate::read::{Count, NonEmpty, Place, Reader, Shape, Text, record};
use crate::tree::{Kind, Node};
use basb_core::run::OnTimeout;
use basb_core::{Millis, ServiceName};
use schemars::{Schema, SchemaGenerator, json_schema};

record! {
    /// Services that become stable together or not at all.
    GroupFile {
        /// The services; each is in one group at the most.
        "services" services: required NonEmpty<ServiceName>;
    }
}

record! {
    /// Who must agree, with `basb-host approve`.
    QuorumFile {
        /// How many different people.
        "approvals" approvals: default Count<1> = 1;
        /// Who may; without it anybody.
        "approvers" approvers: optional NonEmpty<Text>;
    }
}

record! {
    /// Who must agree, with `basb-host approve`, before a run changes anything here.
    ApproveFile {
        /// How many different people.
        "approvals" approvals: default Count<1> = 1;
        /// Who may; without it anybody.
        "approvers" approvers: optional NonEmpty<Text>;
        /// How long to wait; without it, without end.
        "timeout" timeout: optional Millis;
        /// What happens then: `abort` ends the run before anything is changed, `continue` goes on as if all had agreed.
        "onTimeout" on_timeout: optional OnTimeoutFile;
    }
}

/// What happens when nobody answers in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnTimeoutFile(pub(crate) OnTimeout);

impl Shape for OnTimeoutFile {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) if text == "abort" => Some(Self(OnTimeout::Abort)),
            Kind::Text(text) if text == "continue" => Some(Self(OnTimeout::Promote)),
            other => {
                let near = match other {
                    Kind::Text(text) => crate::suggest::nearest(text, ["abort", "continue"]),
                    _ => None,
                };
                let help = near.map(|near| format!("did you mean `{near}`?"));
                reader.wrong_type(node, place, "`abort` or `continue`", help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["abort", "continue"] })
    }
}
