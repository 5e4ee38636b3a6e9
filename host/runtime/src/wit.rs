//! The types of `wit/host/0.1.0` in Rust, generated once for all worlds, so that a `call-context` is the same type
//! everywhere. The calls themselves are in [`crate::worlds`].

#[expect(missing_docs, reason = "generated from WIT, where every item is documented")]
mod generated {
    wasmtime::component::bindgen!({
        inline: "
            package basb:bindings;
            world all {
                import basb:host/log@0.1.0;
                import basb:host/http@0.1.0;
                import basb:host/tcp@0.1.0;
                import basb:host/exec@0.1.0;
                import basb:host/files@0.1.0;
                import basb:host/smtp@0.1.0;
                export basb:host/provider@0.1.0;
                export basb:host/strategy@0.1.0;
                export basb:host/judge@0.1.0;
                export basb:host/probe@0.1.0;
                export basb:host/notifier@0.1.0;
                export basb:host/generator@0.1.0;
            }
        ",
        path: "../../wit/host/0.1.0",
        world: "basb:bindings/all",
        imports: { default: async | trappable },
        exports: { default: async },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use generated::basb::host::{exec, files, http, log, smtp, tcp, types};
pub use generated::exports::basb::host::{generator, judge, notifier, probe, provider, strategy};
