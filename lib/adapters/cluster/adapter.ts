import type { Adapter, MaxQueued } from '../../backplane/adapter.ts'
import { OptionsError } from '../../errors.ts'
import { check, validate } from '../../validate.ts'
import { checkAdapterOptions } from '../options.ts'
import { prepareFolder } from './folder.ts'
import { ClusterLink } from './link.ts'

/** Options of `clusterAdapter()`. */
export interface ClusterAdapterOptions {
  /**
   * Which processes belong together. Needed where neither PM2 nor node:cluster has started them.
   * @default the application of PM2, or the primary of node:cluster
   */
  name?: string | undefined
  /**
   * Where the sockets are: only this user may enter it. A short path, since that of a socket has at most
   * 107 bytes. @default `koaws-<uid>` in XDG_RUNTIME_DIR or the folder for temporary files
   */
  folder?: string | undefined
  /** How often an instance tells the others that it lives, in milliseconds. @default 2_000 */
  heartbeat?: number | undefined
  /**
   * What may wait for one other instance that takes nothing: its stream is cut beyond `bytes`, and what it
   * missed is known to it. @default 16 MiB
   */
  maxQueued?: MaxQueued | undefined
}

/**
 * Joins the processes of one machine: workers of PM2 in its cluster mode, or of node:cluster. Without
 * Redis, and without anything in the primary.
 *
 * @throws OptionsError for an option that is unknown or wrong, where nothing says which processes belong
 * together, and on Windows, which has no Unix sockets
 * @throws AdapterError where its folder cannot be made, or others could enter it
 */
export function clusterAdapter(options: ClusterAdapterOptions = {}): Adapter {
  validate('clusterAdapter()', options, {
    name: check.string,
    folder: check.string,
    ...checkAdapterOptions,
  })
  if (process.platform === 'win32') {
    throw new OptionsError(
      'clusterAdapter() needs Unix sockets in a folder: use redisAdapter() here.',
    )
  }
  const { name, heartbeat, maxQueued } = options
  const folder = prepareFolder(name, options.folder)
  const interval = heartbeat ?? 2_000
  const most = maxQueued?.bytes ?? 16 * 1024 * 1024
  return {
    heartbeat,
    maxQueued,
    connect: (id, events) => new ClusterLink(id, events, { folder, interval, most }),
  }
}
