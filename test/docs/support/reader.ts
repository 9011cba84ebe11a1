// Makes a folder like that of a reader, with koaws in node_modules as npm would install it.
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Packages that samples import, and that are installed in test/peers only. */
const PEERS = [
  'graphql',
  'graphql-ws',
  'http-proxy',
  'koa-basic-auth',
  'koa-connect',
  'koa-passport',
  'lib0',
  'passport-http-bearer',
  'socket.io',
  'vite',
  'y-protocols',
  'y-websocket',
  'yjs',
]

/** Makes a folder with koaws, and the packages of test/peers; other packages are found in the root. */
export function installed(): string {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('Build first: npm run build')
  const folder = mkdtempSync(join(ROOT, 'test/.samples-'))
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, 'koaws'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(modules, 'koaws/package.json'))
  cpSync(join(ROOT, 'dist'), join(modules, 'koaws/dist'), { recursive: true })
  for (const name of PEERS)
    symlinkSync(join(ROOT, 'test/peers/node_modules', name), join(modules, name), 'dir')
  symlinkSync(fileURLToPath(new URL('react', import.meta.url)), join(modules, 'react'), 'dir')
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  return folder
}

/** Returns the output of the TypeScript compiler for all files below a folder. */
export function typeErrorsIn(folder: string, options: object = {}): Promise<string> {
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'dom'],
    module: 'nodenext',
    types: ['node', 'mocha'],
    strict: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    noEmit: true,
    ...options,
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['.'] }))
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [compiler, '-p', folder],
      { cwd: folder },
      (_error, stdout, stderr) => resolve(stdout + stderr),
    )
  })
}
