// What a bundler does for a front end with Relay, and jsdom in the place of a browser: node --import ./tools/relay.mjs …
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@babel/core';
import { JSDOM } from 'jsdom';

registerHooks({
  resolve(specifier, context, next) {
    // babel-plugin-relay imports what relay-compiler has written without its ending.
    return next(specifier.endsWith('.graphql') ? `${specifier}.ts` : specifier, context);
  },
  load(url, context, next) {
    if (!url.endsWith('.tsx')) return next(url, context);
    const filename = fileURLToPath(url);
    const { code } = transformSync(readFileSync(filename, 'utf8'), {
      filename,
      babelrc: false,
      // Where relay-compiler has written what this is compiled to.
      plugins: [['relay', { artifactDirectory: process.env.ARTIFACTS ?? './generated/relay' }]],
      presets: ['@babel/preset-typescript', ['@babel/preset-react', { runtime: 'automatic' }]],
    });
    return { format: 'module', source: code, shortCircuit: true };
  },
});

const { window } = new JSDOM('<body></body>');
Object.assign(globalThis, { window, document: window.document });
