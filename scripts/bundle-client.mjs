// Bundles the client into one ES module each: dist/koaws-client.js for pages, minified, and
// dist/client/index.js for Node, readable, which replaces the output of tsc.
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

/** Members that applications and the language do not use, so they get short names. */
const INTERNAL =
  /^(openedAt|returnAt|on(Welcome|Message|End|Stop)|probe|nextId|thrown|failed|guard|deliver|answer|drain|watch|heard|arm|fail|stop|item|text|start|announced|carries|prepare|pace|patience|ask|call|resume|remember|take|release|malformed|weight|since|window|reply|each|connect)$/

/** @type {import('esbuild').BuildOptions} */
const client = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['lib/client/index.ts'],
  bundle: true,
  sourcemap: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
}

const bundled = await build({
  ...client,
  outfile: 'dist/koaws-client.js',
  platform: 'browser',
  sourcemap: 'external',
  minifySyntax: true,
  mangleProps: INTERNAL,
  write: false,
})
const [map, bundle] = bundled.outputFiles
// Gzipped, its output is about 6 % smaller than that of esbuild.
const minified = await minify(bundle.text, {
  module: true,
  ecma: 2022,
  format: { ascii_only: true },
  compress: {
    passes: 5,
    hoist_funs: true,
    keep_fargs: false,
    unsafe_arrows: true,
    pure_getters: true, // those of the client have no effect
    // Shorter code, but not when gzipped.
    conditionals: false,
    lhs_constants: false,
    inline: 1,
  },
  sourceMap: {
    content: map.text,
    filename: 'koaws-client.js',
    url: 'koaws-client.js.map',
    includeSources: true,
  },
})
await writeFile(bundle.path, minified.code)
await writeFile(map.path, minified.map)
await build({
  ...client,
  outfile: 'dist/client/index.js',
  platform: 'neutral',
  sourcesContent: false, // lib/ is in the package
})
