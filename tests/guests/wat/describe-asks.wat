;; Sends a request while it is only asked what it is. PORT is put in by the test.
;;! world: import basb:host/http@0.1.0; export basb:host/probe@0.1.0;
(module
  (import "basb:host/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "GET")
  (data (i32.const 600) "http://127.0.0.1:PORT/descr")
  (global $free (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get 3))))
  (func (export "basb:host/probe@0.1.0#describe") (result i32)
    (call $send (i32.const 512) (i32.const 3) (i32.const 600) (i32.const 28) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1024))
    i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    i32.const 64))
