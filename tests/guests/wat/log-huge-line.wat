;; Writes one line of 60 MiB to the log.
;;! world: import basb:host/log@0.1.0; export basb:host/probe@0.1.0;
(module
  (import "basb:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1000)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $log (i32.const 1) (i32.const 0) (i32.const 62914560)) i32.const 64))
