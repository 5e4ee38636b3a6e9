// node build.mjs WIT-FOLDER OUT.wasm
//
// WIT-FOLDER holds ../world.wit and, under deps/host, the files of wit/host/0.1.0.

import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';

const [, , witPath, out] = process.argv;
const source = await readFile(new URL('probe.js', import.meta.url), 'utf8');
const { component } = await componentize(source, {
    witPath,
    worldName: 'example-probe',
    // Each of these brings WASI imports of its own. Without them the import list is the list of what it can do.
    disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);
