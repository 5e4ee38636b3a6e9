;; Asks by an interface of the same shape under another name.
;;! version: 0.1.4
;;! replace: interface http { => interface hypertext {
;;! replace: import http; => import hypertext;
;;! world: import basb:host/hypertext@0.1.4; export basb:host/probe@0.1.0;
(module
  (import "basb:host/hypertext@0.1.4" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "GET")
  (global $free (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get 3))))
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $send (i32.const 512) (i32.const 3) (local.get 11) (local.get 12) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1024)) i32.const 64))
