// Writes the pages of docs/reference/api into a folder: node scripts/reference/build.mjs <folder> <config>
import { argv, exit } from 'node:process'
import { fileURLToPath } from 'node:url'
import { Application } from 'typedoc'
import { referencePlugin } from './plugin.mjs'

const [, , out, config] = argv
const here = (path) => fileURLToPath(new URL(path, import.meta.url))
/** In the order of the index. A name that two pages export stands on the first of them. */
const PAGES = [
  'hub',
  'upgrades',
  'connections',
  'audiences',
  'messages',
  'errors',
  'diagnostics',
  'adapters',
  'client',
  'client-streams',
  'redis',
  'cluster',
  'otel',
  'prometheus',
  'inspector',
  'testing',
  'asyncapi',
  'types',
]
const app = await Application.bootstrapWithPlugins({
  entryPoints: PAGES.map((name) => here(`pages/${name}.ts`)),
  tsconfig: here('tsconfig.json'),
  plugin: [
    'typedoc-plugin-markdown',
    referencePlugin({ ...JSON.parse(config), root: here('../../') }),
  ],
  theme: 'reference',
  router: 'reference',
  out,
  cleanOutputDir: false,
  entryFileName: 'index',
  readme: 'none',
  name: 'koaws',
  disableSources: true,
  excludeExternals: true,
  excludePrivate: true,
  excludeInternal: true,
  sort: [],
  sortEntryPoints: false,
  skipErrorChecking: true,
  // Signatures name types that have no export, and pages link to files beside them.
  validation: { notExported: false, invalidPath: false },
  logLevel: 'Warn',
})
const project = await app.convert()
if (project) await app.generateOutputs(project)
if (!project || app.logger.hasErrors() || app.logger.hasWarnings()) exit(1)
