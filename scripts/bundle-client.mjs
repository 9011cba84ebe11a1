// Bundles the client into ES modules: dist/koaws-client.js and dist/koaws-client-streams.js for
// pages, minified, and dist/client/index.js and dist/client/streams.js for Node, readable, which
// replace the output of tsc. The client imports its part for streams on demand, by the name of its file.
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

/** Members that applications and the language do not use, so they get short names. */
const INTERNAL =
  /^(openedAt|returnAt|on(Welcome|Message|End|Stop)|probe|nextId|thrown|failed|guard|deliver|answer|drain|watch|heard|arm|fail|stop|item|start|announced|carries|prepare|pace|patience|ask|call|resumption|remember|take|release|malformed|weight|since|window|each|connect|pending|launch|forget|post|localError|keep|remoteError|receives|left|text|held)$/

/**
 * Leaves the part for streams out of a bundle.
 *
 * @param {string} path the path by which the bundle imports it
 * @returns {import('esbuild').Plugin}
 */
const withoutStreams = (path) => ({
  name: 'without-streams',
  setup({ onResolve }) {
    onResolve({ filter: /\/streams\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path, external: true } : undefined,
    )
  },
})

/** @type {import('esbuild').BuildOptions} */
const client = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  bundle: true,
  sourcemap: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
}

/**
 * Bundles a file for pages.
 *
 * @param {string} entry
 * @param {string} name the name of the bundle
 * @param {Record<string, string | false>} mangleCache the short names of other bundles, which it adds to
 */
async function bundleForPages(entry, name, mangleCache) {
  const bundled = await build({
    ...client,
    entryPoints: [entry],
    outfile: `dist/${name}`,
    platform: 'browser',
    sourcemap: 'external',
    minifySyntax: true,
    mangleProps: INTERNAL,
    mangleCache,
    plugins: [withoutStreams('./koaws-client-streams.js')],
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
      filename: name,
      url: `${name}.map`,
      includeSources: true,
    },
  })
  await writeFile(bundle.path, minified.code)
  await writeFile(map.path, minified.map)
  return bundled.mangleCache
}

// Both files use the same short names for what they pass to each other.
const names = await bundleForPages('lib/client/index.ts', 'koaws-client.js', {})
await bundleForPages('lib/client/streams.ts', 'koaws-client-streams.js', names)
await build({
  ...client,
  entryPoints: ['lib/client/index.ts', 'lib/client/streams.ts'],
  outdir: 'dist/client',
  platform: 'neutral',
  sourcesContent: false, // lib/ is in the package
  plugins: [withoutStreams('./streams.js')],
})
