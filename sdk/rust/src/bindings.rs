//! The generated side of the boundary: one module per world, sharing the imported interfaces in [`host`].
//!
//! Nothing here is for plugin authors; the export macro reaches into it. All `unsafe` of the SDK lives in this module:
//! it is the canonical ABI's, written by wit-bindgen's macro, whose code the lint leaves alone.
#![allow(missing_docs, reason = "generated from WIT, whose documents are carried over where there are any")]
#![allow(clippy::all, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "generated")]

/// Everything that any plugin may import. What a plugin does not call does not reach its component.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit/host/0.1.0",
        inline: "
            package basb:sdk;
            world doors {
                import basb:host/types@0.1.0;
                import basb:host/log@0.1.0;
                import basb:host/http@0.1.0;
                import basb:host/tcp@0.1.0;
                import basb:host/exec@0.1.0;
                import basb:host/files@0.1.0;
                import basb:host/smtp@0.1.0;
            }
        ",
        world: "basb:sdk/doors",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// The provider world.
pub mod provider {
    wit_bindgen::generate!({
        path: "../../wit/host/0.1.0",
        world: "basb:host/provider-plugin@0.1.0",
        with: {
            "basb:host/types@0.1.0": crate::bindings::host::basb::host::types,
            "basb:host/log@0.1.0": crate::bindings::host::basb::host::log,
            "basb:host/http@0.1.0": crate::bindings::host::basb::host::http,
            "basb:host/exec@0.1.0": crate::bindings::host::basb::host::exec,
            "basb:host/files@0.1.0": crate::bindings::host::basb::host::files,
        },
        pub_export_macro: true,
        export_macro_name: "export_provider",
        default_bindings_module: "basb_plugin::bindings::provider",
        additional_derives: [PartialEq],
    });
}

/// The probe world.
pub mod probe {
    wit_bindgen::generate!({
        path: "../../wit/host/0.1.0",
        world: "basb:host/probe-plugin@0.1.0",
        with: {
            "basb:host/types@0.1.0": crate::bindings::host::basb::host::types,
            "basb:host/log@0.1.0": crate::bindings::host::basb::host::log,
            "basb:host/http@0.1.0": crate::bindings::host::basb::host::http,
            "basb:host/tcp@0.1.0": crate::bindings::host::basb::host::tcp,
            "basb:host/exec@0.1.0": crate::bindings::host::basb::host::exec,
        },
        pub_export_macro: true,
        export_macro_name: "export_probe",
        default_bindings_module: "basb_plugin::bindings::probe",
        additional_derives: [PartialEq],
    });
}

/// The notifier world.
pub mod notifier {
    wit_bindgen::generate!({
        path: "../../wit/host/0.1.0",
        world: "basb:host/notifier-plugin@0.1.0",
        with: {
            "basb:host/types@0.1.0": crate::bindings::host::basb::host::types,
            "basb:host/log@0.1.0": crate::bindings::host::basb::host::log,
            "basb:host/http@0.1.0": crate::bindings::host::basb::host::http,
            "basb:host/smtp@0.1.0": crate::bindings::host::basb::host::smtp,
            "basb:host/files@0.1.0": crate::bindings::host::basb::host::files,
        },
        pub_export_macro: true,
        export_macro_name: "export_notifier",
        default_bindings_module: "basb_plugin::bindings::notifier",
        additional_derives: [PartialEq],
    });
}

/// The worlds that import nothing: strategy, judge, generator.
///
/// Each of them *exports* `types`, where its world in the WIT package would import it: an import of types alone gives a
/// component nothing, but an import list with nothing in it needs no explanation. The host does not mind a further export.
pub mod pure {
    wit_bindgen::generate!({
        path: "../../wit/host/0.1.0",
        inline: "
            package basb:sdk;
            world pure {
                export basb:host/types@0.1.0;
                export basb:host/strategy@0.1.0;
                export basb:host/judge@0.1.0;
                export basb:host/generator@0.1.0;
            }
        ",
        world: "basb:sdk/pure",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_pure",
        default_bindings_module: "basb_plugin::bindings::pure",
        additional_derives: [PartialEq],
    });
}

/// What the component of each pure world is told to be, by the build script: wit-bindgen's own macro would export all
/// three at once.
pub mod component_type {
    pub const STRATEGY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/strategy.component-type"));
    pub const JUDGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/judge.component-type"));
    pub const GENERATOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/generator.component-type"));

    /// The bytes as the array that a custom section wants.
    pub const fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        match bytes.first_chunk::<N>() {
            Some(array) => *array,
            None => [0; N],
        }
    }
}
