import cluster from 'node:cluster'
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf } from '../../debug.ts'
import { AdapterError, OptionsError } from '../../errors.ts'

/** The longest path of a Unix socket, in bytes: 108 with a zero at the end on Linux, 104 elsewhere. */
const LONGEST = process.platform === 'linux' ? 107 : 103
/** What comes behind the folder: a slash, an id, `.sock`. */
const BEHIND = 1 + 20 + 5

/**
 * The folder in which instances of one application find each other, made if it is not there.
 *
 * @throws OptionsError where nothing says which application this is
 * @throws AdapterError where the folder cannot be made, or others could get in
 */
export function prepareFolder(name: string | undefined, folder: string | undefined): string {
  const of = hash(name === undefined ? application() : `name:${name}`)
  const path = join(folder === undefined ? defaultFolder() : resolve(folder), of)
  if (Buffer.byteLength(path) + BEHIND > LONGEST) {
    throw new OptionsError(
      `clusterAdapter(): ${path} is too long for a Unix socket. Give a shorter "folder".`,
    )
  }
  makeFolder(path)
  return path
}

/** @throws AdapterError where the folder cannot be made, or others could get in */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new AdapterError(
      'ERR_KOAWS_BACKPLANE',
      `clusterAdapter() cannot make its folder: ${messageOf(error)}`,
      { cause: error },
    )
  }
  assertPrivate(path)
}

/**
 * Nobody else may enter: whoever does may speak to every client.
 *
 * @throws AdapterError where others could
 * @throws Error of the file system where it is not there
 */
export function assertPrivate(path: string): void {
  assertOwn(path)
  // One that others can write to has been chosen by whoever gave it.
  if (basename(dirname(path)) === defaultName()) assertOwn(dirname(path))
}

function defaultFolder(): string {
  return join(process.env['XDG_RUNTIME_DIR'] || tmpdir(), defaultName())
}

function defaultName(): string {
  return `koaws-${process.getuid?.()}`
}

/** What the processes of one application have in common, and others have not. */
function application(): string {
  const { pm_id, name, namespace, PM2_HOME } = process.env
  if (pm_id !== undefined && name !== undefined) {
    return `pm2:${PM2_HOME ?? ''}:${namespace ?? ''}:${name}`
  }
  if (cluster.isWorker) return `cluster:${process.ppid}:${process.argv[1]}`
  throw new OptionsError(
    'clusterAdapter() knows by itself which processes belong together under PM2 and in workers of node:cluster. Elsewhere give it the option "name", the same for all of them.',
  )
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 12)
}

function assertOwn(path: string): void {
  const stat = lstatSync(path)
  const wrong = !stat.isDirectory()
    ? 'is no folder'
    : stat.uid !== process.getuid?.()
      ? 'belongs to another user'
      : (stat.mode & 0o077) !== 0
        ? `can be entered by others (mode ${(stat.mode & 0o777).toString(8)}, not 700)`
        : null
  if (wrong === null) return
  throw new AdapterError(
    'ERR_KOAWS_BACKPLANE',
    `clusterAdapter(): ${path} ${wrong}. Remove it, or give another "folder".`,
  )
}
