//! The export macro.

/// Exports a type as a plugin: `basb_plugin::export!(MyProbe as probe);`
///
/// The kind is one of `provider`, `strategy`, `judge`, `probe`, `notifier`, `generator`, and the type implements the
/// trait of that name. The manifest is `plugin.json` beside `Cargo.toml`, or what `manifest = "…"` names, relative to
/// that folder.
///
/// On Wasm it emits the component's exports, the panic hook, and the manifest as the custom section
/// `basb-host:manifest`. Elsewhere it only checks that the type fits, and adds a test, `manifest_fits`, that the
/// manifest agrees with `Cargo.toml` and that its schema's defaults make a configuration.
#[macro_export]
macro_rules! export {
    ($plugin:ident as $kind:ident $(,)?) => {
        $crate::export!($plugin as $kind, manifest = "plugin.json");
    };
    ($plugin:ident as probe, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, probe, $crate::probe::Probe, $manifest);
    };
    ($plugin:ident as notifier, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, notifier, $crate::notifier::Notifier, $manifest);
    };
    ($plugin:ident as provider, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, provider, $crate::provider::Provider, $manifest);
    };
    ($plugin:ident as strategy, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, strategy, $crate::strategy::Strategy, $manifest);
    };
    ($plugin:ident as judge, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, judge, $crate::judge::Judge, $manifest);
    };
    ($plugin:ident as generator, manifest = $manifest:literal $(,)?) => {
        $crate::__export!($plugin, generator, $crate::generator::Generator, $manifest);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident, $kind:ident, $trait:path, $manifest:literal) => {
        const _: () = {
            type BasbExported = $crate::glue::Exported<$plugin>;

            #[cfg(target_arch = "wasm32")]
            const MANIFEST: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            // A custom section: the host reads it without running anything.
            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "basb-host:manifest")]
            static SECTION: [u8; MANIFEST.len()] = *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            #[cfg(target_arch = "wasm32")]
            $crate::__export_world!($kind, BasbExported);

            #[cfg(not(target_arch = "wasm32"))]
            const _: fn() = || {
                fn fits<T: $trait>() {}
                fits::<$plugin>();
                let _ = core::marker::PhantomData::<BasbExported>;
            };
        };

        #[cfg(all(test, not(target_arch = "wasm32")))]
        #[test]
        fn manifest_fits() {
            let problems = $crate::testing::check_manifest::<<$plugin as $trait>::Config>(
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest)),
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
                stringify!($kind),
            );
            assert!(problems.is_empty(), "{}: {}", $manifest, problems.join("; "));
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_world {
    (probe, $ty:ident) => { $crate::bindings::probe::export_probe!($ty with_types_in $crate::bindings::probe); };
    (notifier, $ty:ident) => { $crate::bindings::notifier::export_notifier!($ty with_types_in $crate::bindings::notifier); };
    (provider, $ty:ident) => { $crate::bindings::provider::export_provider!($ty with_types_in $crate::bindings::provider); };
    (strategy, $ty:ident) => {
        $crate::bindings::pure::exports::basb::host::strategy::__export_basb_host_strategy_0_1_0_cabi!(
            $ty with_types_in $crate::bindings::pure::exports::basb::host::strategy
        );
        $crate::__component_type!(STRATEGY, "component-type:basb-plugin:0.1.0:strategy");
    };
    (judge, $ty:ident) => {
        $crate::bindings::pure::exports::basb::host::judge::__export_basb_host_judge_0_1_0_cabi!(
            $ty with_types_in $crate::bindings::pure::exports::basb::host::judge
        );
        $crate::__component_type!(JUDGE, "component-type:basb-plugin:0.1.0:judge");
    };
    (generator, $ty:ident) => {
        $crate::bindings::pure::exports::basb::host::generator::__export_basb_host_generator_0_1_0_cabi!(
            $ty with_types_in $crate::bindings::pure::exports::basb::host::generator
        );
        $crate::__component_type!(GENERATOR, "component-type:basb-plugin:0.1.0:generator");
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __component_type {
    ($which:ident, $section:literal) => {
        #[used]
        #[unsafe(link_section = $section)]
        static COMPONENT_TYPE: [u8; $crate::bindings::component_type::$which.len()] =
            $crate::bindings::component_type::array($crate::bindings::component_type::$which);
    };
}
