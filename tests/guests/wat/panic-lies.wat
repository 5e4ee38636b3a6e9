;; Leaves the mark of a panic's message where the host looks for it, with a length that goes beyond its memory, and once
;; more with one that the host would take for a length; then it traps.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "BASB-PANIC/1\00\ff\ff\ff\7fshort")
  (data (i32.const 65500) "BASB-PANIC/1\00\ff\ff\0f\00at the end")
  (data (i32.const 2048) "BASB-PANIC/1\00\00\10\00\00\1b[2J\ff\fe\e2\80\ae")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    unreachable))
