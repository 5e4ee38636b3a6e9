;; Makes handles to a resource of its own without end.
;;! own: interface things { resource thing; }
;;! world: export things; export basb:host/probe@0.1.0;
(module
  (import "[export]test:guest/things" "[resource-new]thing" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (loop $more (drop (call $new (i32.const 1))) (br $more)) unreachable))
