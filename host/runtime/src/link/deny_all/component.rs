//! Makes a component that calls one function: with plausible small arguments, and with real handles where a chain of
//! other calls gives some.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, FlatTypes, WasmType};
use wit_parser::{
    Function, Handle, InterfaceId, LiftLowerAbi, ManglingAndAbi, Resolve, SizeAlign, Type, TypeDefKind, TypeId,
    WasmImport, WorldKey,
};

const ABI: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// Where the result area of the called function begins; before it stands how far the component came.
const RESULT: usize = 1024;
/// How much of the memory the test reads.
pub(super) const REPORT: usize = 512;
/// Result areas of calls that only give handles, and then the arguments.
const SCRATCH: usize = 2048;
const ARGUMENTS: usize = 8192;

/// How far it came: before the handles, before the call, after it.
pub(super) const HAS_HANDLES: u8 = 1;
pub(super) const RETURNED: u8 = 2;

/// A function that can be called.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) interface: InterfaceId,
    pub(super) function: &'a Function,
}

/// How a handle of a resource can be had: by calling this, whose result holds it at the offset if these bytes are so.
#[derive(Clone)]
pub(super) struct Recipe<'a> {
    pub(super) target: Target<'a>,
    checks: Vec<(usize, u8)>,
    offset: usize,
}

impl Recipe<'_> {
    /// Whether a result holds the handle.
    pub(super) fn holds(&self, result: &[u8]) -> bool {
        self.checks.iter().all(|(offset, case)| result[*offset] == *case)
    }
}

/// What is known of all packages.
pub(super) struct Universe {
    pub(super) resolve: Resolve,
    pub(super) sizes: SizeAlign,
}

/// A resource, what its result must hold for a handle of it to be there, and where the handle is.
type Found = (TypeId, Vec<(usize, u8)>, usize);

/// A flat argument.
enum Flat {
    Number(WasmType, i64),
    Handle(TypeId),
}

impl Universe {
    pub(super) fn name(&self, interface: InterfaceId) -> String {
        self.resolve.id_of(interface).unwrap()
    }

    /// A function by its name.
    fn function(&self, name: &str) -> Option<Target<'_>> {
        self.resolve
            .interfaces
            .iter()
            .find_map(|(interface, all)| all.functions.get(name).map(|function| Target { interface, function }))
    }

    /// The resource behind an alias.
    fn resource(&self, id: TypeId) -> TypeId {
        match self.resolve.types[id].kind {
            TypeDefKind::Type(Type::Id(other)) => self.resource(other),
            _ => id,
        }
    }

    /// The handles that a function wants.
    pub(super) fn wants(&self, function: &Function) -> Vec<TypeId> {
        let mut wanted = Vec::new();
        for param in &function.params {
            let flat = self.flat(&param.ty, &param.name, &mut Image::default());
            wanted.extend(flat.into_iter().filter_map(|flat| match flat {
                Flat::Handle(resource) => Some(resource),
                Flat::Number(..) => None,
            }));
        }
        wanted
    }

    /// The handles that a function gives.
    pub(super) fn gives<'a>(&self, target: Target<'a>) -> Vec<(TypeId, Recipe<'a>)> {
        let mut found = Vec::new();
        if let Some(result) = &target.function.result {
            self.find(result, 0, &mut Vec::new(), &mut found);
        }
        let recipe = |checks, offset| Recipe { target, checks, offset };
        found.into_iter().map(|(resource, checks, offset)| (resource, recipe(checks, offset))).collect()
    }

    fn find(&self, ty: &Type, offset: usize, checks: &mut Vec<(usize, u8)>, found: &mut Vec<Found>) {
        let Type::Id(id) = ty else { return };
        let mut in_case = |case: u8, ty: &Option<Type>, cases: [Option<&Type>; 2]| {
            let Some(ty) = ty else { return };
            let payload = self.sizes.payload_offset(wit_parser::Int::U8, cases).size_wasm32();
            checks.push((offset, case));
            self.find(ty, offset + payload, checks, found);
            checks.pop();
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(other) => self.find(other, offset, checks, found),
            TypeDefKind::Handle(Handle::Own(resource)) => {
                found.push((self.resource(*resource), checks.clone(), offset));
            }
            TypeDefKind::Option(some) => in_case(1, &Some(*some), [Some(some), None]),
            TypeDefKind::Result(result) => in_case(0, &result.ok, [result.ok.as_ref(), result.err.as_ref()]),
            TypeDefKind::Tuple(tuple) => {
                for (at, ty) in self.sizes.field_offsets(&tuple.types) {
                    self.find(ty, offset + at.size_wasm32(), checks, found);
                }
            }
            _ => {}
        }
    }

    fn flat_types(&self, ty: &Type) -> Vec<WasmType> {
        let mut room = [WasmType::I32; 64];
        let mut flat = FlatTypes::new(&mut room);
        self.resolve.push_flat(ty, &mut flat);
        flat.to_vec()
    }

    /// An argument: the first case, the shortest list, a number that fits, a text that is plausible by its name.
    fn flat(&self, ty: &Type, name: &str, image: &mut Image) -> Vec<Flat> {
        match ty {
            Type::String => {
                let (at, length) = image.text(name);
                vec![Flat::Number(WasmType::Pointer, at as i64), Flat::Number(WasmType::Length, length as i64)]
            }
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(other) => self.flat(other, name, image),
                TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
                    vec![Flat::Handle(self.resource(*resource))]
                }
                TypeDefKind::Record(record) => {
                    record.fields.iter().flat_map(|field| self.flat(&field.ty, &field.name, image)).collect()
                }
                TypeDefKind::Tuple(tuple) => tuple.types.iter().flat_map(|ty| self.flat(ty, name, image)).collect(),
                TypeDefKind::List(element) if name == "requests" => {
                    let size = self.sizes.size(element).size_wasm32();
                    let at = image.reserve(size);
                    self.store(element, name, at, image);
                    vec![Flat::Number(WasmType::Pointer, at as i64), Flat::Number(WasmType::Length, 1)]
                }
                TypeDefKind::Option(Type::String) if !plausible(name).is_empty() => {
                    let mut flat = vec![Flat::Number(WasmType::I32, 1)];
                    flat.extend(self.flat(&Type::String, name, image));
                    flat
                }
                TypeDefKind::Variant(_) | TypeDefKind::Option(_) | TypeDefKind::Result(_) => {
                    let types = self.flat_types(ty);
                    let mut flat: Vec<Flat> = types.into_iter().map(|ty| Flat::Number(ty, 0)).collect();
                    let first = match &self.resolve.types[*id].kind {
                        TypeDefKind::Variant(variant) => variant.cases.first().and_then(|case| case.ty),
                        TypeDefKind::Result(result) => result.ok,
                        _ => None,
                    };
                    // Only what is not zero has to be put in.
                    for (place, value) in first.iter().flat_map(|ty| self.flat(ty, name, image)).enumerate() {
                        if let (Flat::Number(_, number), Some(Flat::Number(_, zero))) = (value, flat.get_mut(place + 1))
                        {
                            *zero = number;
                        }
                    }
                    flat
                }
                _ => self.flat_types(ty).into_iter().map(|ty| Flat::Number(ty, 0)).collect(),
            },
            _ => self.flat_types(ty).into_iter().map(|ty| Flat::Number(ty, number(name))).collect(),
        }
    }

    /// The same in memory. Handles are not stored: no function wants that.
    fn store(&self, ty: &Type, name: &str, at: usize, image: &mut Image) {
        match ty {
            Type::String => {
                let (text, length) = image.text(name);
                image.put(at, &(text as u32).to_le_bytes());
                image.put(at + 4, &(length as u32).to_le_bytes());
            }
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(other) => self.store(other, name, at, image),
                TypeDefKind::Record(record) => {
                    let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                    for (field, (offset, ty)) in record.fields.iter().zip(offsets) {
                        self.store(ty, &field.name, at + offset.size_wasm32(), image);
                    }
                }
                // All zero is the empty list, the first case, nothing.
                _ => {}
            },
            _ => {
                let size = self.sizes.size(ty).size_wasm32();
                image.put(at, &number(name).to_le_bytes()[..size]);
            }
        }
    }

    /// The component.
    pub(super) fn component(&self, target: Target<'_>, recipes: &BTreeMap<TypeId, Recipe<'_>>) -> Vec<u8> {
        let mut module = Module {
            universe: self,
            recipes,
            image: Image::default(),
            imports: Vec::new(),
            body: String::new(),
            locals: 0,
            scratch: SCRATCH,
        };
        let arguments = module.arguments(target.function);
        writeln!(module.body, "(i32.store8 (i32.const {}) (i32.const {HAS_HANDLES}))", RESULT - 1).unwrap();
        module.call(target, arguments, RESULT, None);
        writeln!(module.body, "(i32.store8 (i32.const {}) (i32.const {RETURNED}))", RESULT - 1).unwrap();
        module.finish()
    }
}

fn number(name: &str) -> i64 {
    match name {
        "port" => 9,
        "timeout" => 1000,
        _ => 0,
    }
}

/// A text that a parameter or a field of this name could have.
fn plausible(name: &str) -> &'static str {
    match name {
        "method" => "GET",
        "url" => "http://127.0.0.1:9/",
        "host" => "127.0.0.1",
        "authority" => "127.0.0.1:9",
        "path-with-query" => "/",
        "program" => "sh",
        "folder" | "path" | "name" | "server" => "x",
        "from" => "a@b.invalid",
        _ => "",
    }
}

/// What is done with a handle before it is used: a request gets its destination, an answer is waited for.
const PREPARED: [&str; 3] = [
    "[method]outgoing-request.set-authority",
    "[method]outgoing-request.set-path-with-query",
    "[method]future-incoming-response.subscribe",
];

/// What is waited for is waited for by this.
const BLOCK: &str = "[method]pollable.block";

/// What stands in the module's memory before it runs.
#[derive(Default)]
struct Image {
    bytes: Vec<u8>,
}

impl Image {
    fn reserve(&mut self, size: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at + size, 0);
        ARGUMENTS + at
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let at = at - ARGUMENTS;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn text(&mut self, name: &str) -> (usize, usize) {
        let text = plausible(name);
        let at = self.reserve(text.len());
        self.put(at, text.as_bytes());
        (at, text.len())
    }
}

struct Module<'a, 'b> {
    universe: &'a Universe,
    recipes: &'a BTreeMap<TypeId, Recipe<'b>>,
    image: Image,
    imports: Vec<(InterfaceId, String)>,
    body: String,
    locals: usize,
    scratch: usize,
}

impl Module<'_, '_> {
    /// The arguments of a function; the code that gets its handles goes into the body.
    fn arguments(&mut self, function: &Function) -> Vec<(WasmType, String)> {
        let signature = self.universe.resolve.wasm_signature(AbiVariant::GuestImport, function);
        assert!(!signature.indirect_params || self.universe.wants(function).is_empty(), "{}", function.name);
        if signature.indirect_params {
            let types: Vec<Type> = function.params.iter().map(|param| param.ty).collect();
            let at = self.image.reserve(self.universe.sizes.params(&types).size.size_wasm32());
            for (param, (offset, ty)) in function.params.iter().zip(self.universe.sizes.field_offsets(&types)) {
                self.universe.store(ty, &param.name, at + offset.size_wasm32(), &mut self.image);
            }
            return vec![(WasmType::I32, format!("(i32.const {at})"))];
        }
        let flat: Vec<Flat> = function
            .params
            .iter()
            .flat_map(|param| self.universe.flat(&param.ty, &param.name, &mut self.image))
            .collect();
        flat.into_iter()
            .map(|flat| match flat {
                Flat::Number(ty, number) => (ty, format!("({}.const {number})", core(ty))),
                Flat::Handle(resource) => (WasmType::I32, self.handle(resource)),
            })
            .collect()
    }

    fn handle(&mut self, resource: TypeId) -> String {
        let Some(recipe) = self.recipes.get(&resource).cloned() else { return "(i32.const 0)".to_owned() };
        let arguments = self.arguments(recipe.target.function);
        let local = self.locals;
        self.locals += 1;
        let area = self.scratch;
        self.scratch += 256;
        self.call(recipe.target, arguments, area, Some(&recipe));
        writeln!(self.body, "(local.set {local} (i32.load (i32.const {})))", area + recipe.offset).unwrap();
        let own = format!("(local.get {local})");
        for name in PREPARED {
            self.prepare(resource, name, &own);
        }
        own
    }

    /// Calls a method of a handle, if it is one of that resource, and waits for what it gives to wait for.
    fn prepare(&mut self, resource: TypeId, name: &str, own: &str) {
        let Some(target) = self.universe.function(name) else { return };
        if self.universe.wants(target.function).first() != Some(&resource) {
            return;
        }
        let mut arguments = vec![(WasmType::I32, own.to_owned())];
        let rest = target.function.params.iter().skip(1);
        let flat: Vec<Flat> =
            rest.flat_map(|param| self.universe.flat(&param.ty, &param.name, &mut self.image)).collect();
        arguments.extend(flat.into_iter().map(|flat| match flat {
            Flat::Number(ty, number) => (ty, format!("({}.const {number})", core(ty))),
            Flat::Handle(_) => panic!("{name} wants a handle"),
        }));
        let area = self.scratch;
        self.scratch += 256;
        self.call(target, arguments, area, None);
        if !self.universe.gives(target).is_empty() {
            let block = self.universe.function(BLOCK).unwrap();
            let waited = vec![(WasmType::I32, format!("(i32.load (i32.const {area}))"))];
            self.call(block, waited, area, None);
        }
    }

    /// A call whose result goes to `area`; where there is a recipe, the end unless it holds.
    fn call(
        &mut self,
        target: Target<'_>,
        mut arguments: Vec<(WasmType, String)>,
        area: usize,
        recipe: Option<&Recipe<'_>>,
    ) {
        let resolve = &self.universe.resolve;
        let signature = resolve.wasm_signature(AbiVariant::GuestImport, target.function);
        let key = WorldKey::Interface(target.interface);
        let import = WasmImport::Func { interface: Some(&key), func: target.function };
        let (module, name) = resolve.wasm_import_name(ABI, import);
        let types = |types: &[WasmType]| types.iter().map(|ty| core(*ty)).collect::<Vec<_>>().join(" ");
        let text = format!(
            "(import {module:?} {name:?} (func $f{{}} (param {}) (result {})))",
            types(&signature.params),
            types(&signature.results)
        );
        let index = self.imports.iter().position(|(_, other)| *other == text).unwrap_or_else(|| {
            self.imports.push((target.interface, text));
            self.imports.len() - 1
        });
        if signature.retptr {
            arguments.push((WasmType::I32, format!("(i32.const {area})")));
        }
        let arguments: String = arguments.into_iter().map(|(_, text)| text).collect();
        let call = format!("(call $f{index} {arguments})");
        match signature.results.first() {
            Some(ty) => writeln!(self.body, "({}.store (i32.const {area}) {call})", core(*ty)).unwrap(),
            None => writeln!(self.body, "{call}").unwrap(),
        }
        for (offset, case) in recipe.iter().flat_map(|recipe| &recipe.checks) {
            writeln!(
                self.body,
                "(if (i32.ne (i32.load8_u (i32.const {})) (i32.const {case})) (then (return (i32.const 0))))",
                area + offset
            )
            .unwrap();
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut resolve = self.universe.resolve.clone();
        let mut interfaces: Vec<_> = self.imports.iter().map(|(id, _)| self.universe.name(*id)).collect();
        interfaces.sort();
        interfaces.dedup();
        let uses: String = interfaces.iter().map(|name| format!("import {name};\n")).collect();
        let world = format!("package probe:probe;\nworld w {{\n{uses}export run: func() -> list<u8>;\n}}");
        let package = resolve.push_source("probe.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("w")).unwrap();
        let imports: String =
            self.imports.iter().enumerate().map(|(n, (_, text))| text.replace("{}", &n.to_string())).collect();
        let image: String = self.image.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let (locals, body) = ("i32 ".repeat(self.locals), self.body);
        let report = (RESULT - 1) as u32;
        let list: String = [report, REPORT as u32]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        // Whatever the host gives is put behind everything else.
        let text = format!(
            "(module {imports}
              (memory (export \"memory\") 64)
              (data (i32.const {ARGUMENTS}) \"{image}\")
              (data (i32.const 0) \"{list}\")
              (global $free (mut i32) (i32.const 131072))
              (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
              (func $body (result i32) (local {locals}) {body} (i32.const 0))
              (func (export \"run\") (result i32) (drop (call $body)) (i32.const 0)))"
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let encoder = ComponentEncoder::default().validate(true).module(&module).unwrap();
        let mut encoder = encoder;
        encoder.encode().unwrap()
    }
}

fn core(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}
