// The folder in which the instances of one application meet, closed to other users.
import cluster from 'node:cluster'
import { createHash } from 'node:crypto'
import { accessSync, constants, lstatSync, mkdirSync, statfsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf } from '../../debug.ts'
import { AdapterError, OptionsError } from '../../errors.ts'

/**
 * The longest path of a Unix socket, in bytes: 108 on Linux and 104 elsewhere, less the zero at the
 * end.
 */
const LONGEST = process.platform === 'linux' ? 107 : 103
/** The size of the path behind the folder, in bytes: a slash, an id, `.sock`. */
const BEHIND = 1 + 20 + 5

/**
 * Network file systems by their magic number on Linux (statfs(2)). Sockets in them do not connect
 * processes reliably.
 */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
])

/**
 * Returns the folder in which the instances of one application meet. Creates it if necessary.
 *
 * @throws OptionsError when the application cannot be identified, and for a path that is too long
 * @throws AdapterError when the folder cannot be created or used, or is accessible to other users
 */
export function prepareFolder(name: string | undefined, folder: string | undefined): string {
  const of = hash(name === undefined ? application() : `name:${name}`)
  const base = folder === undefined ? defaultFolder() : { path: resolve(folder), from: 'folder' }
  const path = join(base.path, of)
  const bytes = Buffer.byteLength(path) + BEHIND
  if (bytes > LONGEST) {
    throw new OptionsError(
      `clusterAdapter(): ${path} (from ${base.from}) is too long for a Unix socket: with the name of the socket it has ${bytes} bytes, and the limit is ${LONGEST}. Give a shorter "folder".`,
    )
  }
  try {
    makeFolder(path)
    const system = networkOf(path)
    if (system !== undefined) {
      throw unusable(`${path} is on a network file system (${system})`)
    }
  } catch (error) {
    if (error instanceof AdapterError) error.message += ` The path is from ${base.from}.`
    throw error
  }
  return path
}

/**
 * Creates a folder.
 *
 * @throws AdapterError when the folder cannot be created or used, or is accessible to other users
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw unusable(`cannot create the folder ${path}: ${messageOf(error)}`, error)
  }
  assertPrivate(path)
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(`cannot write to ${path}: ${messageOf(error)}`, error)
  }
}

/**
 * Asserts that other users have no access to the folder: a process with access can send to every
 * client.
 *
 * @throws AdapterError when other users have access
 * @throws Error of the file system when the folder is missing
 */
function assertPrivate(path: string): void {
  assertOwn(path)
  // A parent folder that others can write to was the application's choice.
  if (basename(dirname(path)) === defaultName()) assertOwn(dirname(path))
}

/**
 * Returns the number of workers that PM2 was asked for; undefined without PM2. node:cluster does
 * not tell its workers their number.
 */
export function expectedByPm2(): number | undefined {
  const { pm_id, instances } = process.env
  const count = Number(instances)
  return pm_id !== undefined && Number.isInteger(count) && count > 0 ? count : undefined
}

const SUFFIX = '.sock'

/** The path of the socket of an instance. */
export function socketPath(folder: string, id: string): string {
  return join(folder, id + SUFFIX)
}

/**
 * Reads the ids of the instances that have a socket in a folder; an empty list when the folder does not exist.
 *
 * @throws AdapterError where others could get in
 * @throws Error of the file system
 */
export async function readIds(folder: string): Promise<string[]> {
  try {
    assertPrivate(folder)
    const names = await readdir(folder)
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

/** The code of an error of the file system or of a socket. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

function defaultFolder(): { path: string; from: string } {
  const runtime = process.env['XDG_RUNTIME_DIR']
  return runtime
    ? { path: join(runtime, defaultName()), from: 'XDG_RUNTIME_DIR' }
    : {
        path: join(tmpdir(), defaultName()),
        from: 'os.tmpdir(), which follows TMPDIR',
      }
}

function defaultName(): string {
  return `koaws-${process.getuid?.()}`
}

/**
 * Returns a string that identifies the application to its own processes only.
 *
 * @throws OptionsError without PM2 and node:cluster
 */
function application(): string {
  const { pm_id, name, namespace, PM2_HOME } = process.env
  if (pm_id !== undefined && name !== undefined) {
    return `pm2:${PM2_HOME ?? ''}:${namespace ?? ''}:${name}`
  }
  if (cluster.isWorker) return `cluster:${process.ppid}:${process.argv[1]}`
  throw new OptionsError(
    'clusterAdapter() needs the option "name" here, the same in all processes of the application. Only under PM2 and in workers of node:cluster is it optional.',
  )
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 12)
}

function networkOf(path: string): string | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    // Magic numbers have 32 bits; some systems return them as signed integers.
    return NETWORK.get(statfsSync(path).type >>> 0)
  } catch {
    return undefined // use a file system that cannot be identified
  }
}

function unusable(what: string, cause?: unknown): AdapterError {
  return new AdapterError(
    'ERR_KOAWS_BACKPLANE',
    `clusterAdapter(): ${what}. Give a "folder" on this machine that this user may write to.`,
    { cause },
  )
}

function assertOwn(path: string): void {
  const stat = lstatSync(path)
  const wrong = !stat.isDirectory()
    ? 'is not a folder'
    : stat.uid !== process.getuid?.()
      ? `belongs to another user (uid ${stat.uid}, not ${process.getuid?.()})`
      : (stat.mode & 0o077) !== 0
        ? `is accessible to other users (mode ${(stat.mode & 0o777).toString(8)}, not 700)`
        : null
  if (wrong === null) return
  throw new AdapterError(
    'ERR_KOAWS_BACKPLANE',
    `clusterAdapter(): ${path} ${wrong}. Remove it, or give another "folder".`,
  )
}
