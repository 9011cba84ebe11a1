// Makes dist/koaws-client.js, the whole client in one ES module that a page can load without a
// bundler, next to what tsc has written.
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** Members that no application and no other part of the language knows: short names for them. */
const INTERNAL =
  /^(openedAt|returnAt|on(Welcome|Message|End|Stop)|probe|nextId|thrown|failed|guard|deliver|answer|drain|watch|heard|arm|fail|stop|item|text|start)$/

await build({
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['lib/client/index.ts'],
  outfile: 'dist/koaws-client.js',
  bundle: true,
  minify: true,
  mangleProps: INTERNAL,
  sourcemap: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  logLevel: 'warning',
})
