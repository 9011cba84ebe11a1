// Opens the parts of a hub that have their own folders: history, the record of retries, streams.

import { topicOf } from '../backplane/order.ts'
import type { FrameDeflate } from '../connection/frame.ts'
import { History } from '../history/history.ts'
import type { ResolvedHistory } from '../history/options.ts'
import { partsOf } from '../history/place.ts'
import type { OpenHistory } from '../history/store.ts'
import type { RelayLine } from '../streams/notes.ts'
import type { ResolvedStreamsOptions } from '../streams/options.ts'
import { StreamRelay } from '../streams/relay.ts'
import { Streams, type StreamsStatus } from '../streams/streams.ts'
import type { Drops } from './drops.ts'
import type { LocalMembers } from './local-members.ts'
import type { RoomWatcher } from './rooms.ts'
import type { Roster } from './roster.ts'

export { openRetries, type Retries } from '../retry/retries.ts'
export type { ResolvedStreamsOptions, Streams, StreamsStatus }

/** The options of a hub that concern history. */
export interface HistoryParts {
  readonly history: ResolvedHistory | undefined
  /** Opens the store: that of the adapter, or one in this process. */
  readonly openHistory: OpenHistory
}

/** The hub that a history belongs to. */
interface HistoryOwner {
  readonly id: string
  readonly roster: Roster
  readonly members: LocalMembers
  count(reason: string, many: number, connection?: unknown): void
}

export function openHistory(
  limits: ResolvedHistory,
  open: OpenHistory,
  maxQueued: ConstructorParameters<typeof History>[3],
  deflate: FrameDeflate | null,
  hub: HistoryOwner,
): History {
  const { roster } = hub
  const history = new History(hub.id, limits, open, maxQueued, {
    instance: hub.id,
    deflate,
    members: (log) => {
      const [kind, name] = partsOf(log)
      return kind === 'users' ? roster.users.get(name) : roster.rooms.members.get(name)
    },
    count: (reason, many, connection) => hub.count(reason, many, connection),
    change: (change) => hub.members.remove(change),
    lost: (kind, name, isTold) => {
      hub.members.resync({ kind, names: [name], except: [], exceptUsers: [] }, isTold)
    },
  })
  hub.members.restOf = (change, isForeign) => history.changes.restOf(change, isForeign)
  hub.members.recovers = (target, connection) => history.recovers(target, connection)
  const watch = (kind: 'rooms' | 'users'): RoomWatcher => ({
    entered: (connection, name) => history.entered(connection, topicOf(kind, name)),
    exited: (connection, name) => history.exited(connection, topicOf(kind, name)),
  })
  roster.rooms.watchers.push(watch('rooms'))
  roster.userWatcher = watch('users')
  return history
}

/**
 * Opens the streams of a hub.
 *
 * @param instances gets the relay that resumes streams of other instances; null without a backplane
 */
export function openStreams(
  options: ResolvedStreamsOptions,
  drops: Drops,
  instances: { streams: StreamRelay | null } | null,
  line: RelayLine,
): Streams {
  const streams = new Streams(options, (reason) => drops.add(reason))
  if (instances) {
    streams.relay = new StreamRelay(line, (name) => streams.find(name))
    instances.streams = streams.relay
  }
  return streams
}
