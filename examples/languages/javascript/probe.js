// A probe in JavaScript: does the service answer, and what does it say of itself?
//
// Built by componentize-js (see README.md). There is no clock, no randomness and no `fetch` in here: the features that would
// import WASI are switched off, so that its imports are `basb:host/log` and `basb:host/http` and nothing else.

import { write } from 'basb:host/log@0.1.0';
import { send } from 'basb:host/http@0.1.0';

export const probe = {
    describe() {
        return {
            values: [{ name: 'latency', unit: 'ms', meaning: 'until the whole answer was there' }],
            extras: [],
        };
    },

    check(cx, target) {
        const { path = '/health' } = JSON.parse(cx.config);
        let response;
        try {
            response = send({ method: 'GET', url: target.url + path, headers: [], body: new Uint8Array(), timeout: undefined });
        } catch (refused) {
            // An `err` of the host arrives as an exception whose payload is the WIT variant.
            const { tag, val } = refused.payload ?? refused;
            return { verdict: 'error', summary: `${tag}: ${val}`, values: [], facts: [] };
        }
        write('info', `${path} was answered with ${response.status}`);
        const latency = Number(response.timing.total) / 1000;
        return {
            verdict: response.status < 400 ? 'pass' : 'fail',
            summary: `status ${response.status}`,
            values: [['latency', latency]],
            facts: [['body', new TextDecoder().decode(response.body)]],
        };
    },
};
