// `clusterAdapter()`: connects the processes of one machine over Unix sockets.
import type { Adapter, MaxQueued } from '../../backplane/adapter.ts'
import { OptionsError } from '../../errors.ts'
import { check, validate } from '../../validate.ts'
import { checkAdapterOptions } from '../options.ts'
import { expectedByPm2, prepareFolder } from './folder.ts'
import { ClusterHistory } from './history/store.ts'
import { ClusterLink } from './link.ts'
import { ClusterRetries } from './retry/store.ts'

/** The options of `clusterAdapter()`. */
export interface ClusterAdapterOptions {
  /**
   * The name of the application: processes with the same name exchange messages. Required unless
   * PM2 or node:cluster started the processes. @default the application of PM2, or the primary of
   * node:cluster
   */
  name?: string | undefined
  /**
   * The folder of the sockets: the same for all processes, and accessible to this user only. Keep
   * it short: the path of a socket has at most 107 bytes. `hub.status().backplane.folder` shows the
   * folder in use. @default `koaws-<uid>` in XDG_RUNTIME_DIR or the folder for temporary files
   */
  folder?: string | undefined
  /**
   * The expected number of processes, including this one. When fewer are present for longer than 5
   * seconds, the state of the backplane is `degraded`, with the reason; messages still reach the
   * present ones. 1 turns the check off. @default `instances` of PM2; otherwise no number is
   * expected
   */
  expected?: number | undefined
  /** The interval of an instance's beats to the other instances, in milliseconds. @default 2_000 */
  heartbeat?: number | undefined
  /**
   * The bound of what waits here, and of the queue for one other instance, where only `bytes`
   * counts. When that queue is nearly full, messages to the rooms with the largest share fail, and messages to other rooms still
   * pass. @default 16 MiB
   */
  maxQueued?: MaxQueued | undefined
}

/**
 * Returns an adapter that connects the processes of one machine: workers of PM2 in cluster mode, or
 * of node:cluster. It needs neither Redis nor code in the primary.
 *
 * @example
 * ```js
 * import koaWs from 'koaws'
 * import { clusterAdapter } from 'koaws/cluster'
 *
 * const hub = koaWs({ adapter: clusterAdapter({ name: `sample-${process.pid}` }) })
 * console.log(hub.status().backplane.state) // connecting
 * await hub.close()
 * ```
 *
 * @param options none is required under PM2 and node:cluster
 * @returns the adapter, for the option `adapter` of one `koaWs()`
 * @throws OptionsError for an unknown or invalid option, when the application cannot be identified,
 * and on Windows, which has no Unix sockets
 * @throws AdapterError when the folder cannot be created or written to, is on a network file
 * system, or is accessible to other users
 */
export function clusterAdapter(options: ClusterAdapterOptions = {}): Adapter {
  validate('clusterAdapter()', options, {
    name: check.string,
    folder: check.string,
    expected: check.count,
    ...checkAdapterOptions,
  })
  if (process.platform === 'win32') {
    throw new OptionsError(
      'clusterAdapter() does not run on Windows: it needs Unix domain sockets. Use redisAdapter().',
    )
  }
  const { name, heartbeat, maxQueued, expected = expectedByPm2() } = options
  const folder = prepareFolder(name, options.folder)
  const interval = heartbeat ?? 2_000
  const most = maxQueued?.bytes ?? 16 * 1024 * 1024
  return {
    heartbeat,
    maxQueued,
    connect: (id, events) => new ClusterLink(id, events, { folder, expected, interval, most }),
    history: (_id, limits, events) =>
      new ClusterHistory({ folder, interval, most }, limits, events),
    retries: () => new ClusterRetries({ folder, interval, most }),
  }
}
