;; Calls itself without end.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (drop (call $deeper (i64.const 0))) i32.const 64)
  (func $deeper (param i64) (result i64) (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1))))
