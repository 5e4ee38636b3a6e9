;; Imports what nobody has.
;;! own: interface raw { open: func(port: u16) -> u32; }
;;! world: import raw; export basb:host/probe@0.1.0;
(module
  (import "test:guest/raw" "open" (func $open (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (drop (call $open (i32.const 22))) i32.const 64))
