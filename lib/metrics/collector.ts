// Reads the state of a hub when an exporter asks for the metrics.

import { EventLoop } from './event-loop.ts'
import { Families } from './families.ts'
import type { Family } from './family.ts'
import type { ObservedHub } from './hub.ts'
import { DROPS } from './known.ts'
import { type Observer, observe } from './observer.ts'
import { SendQueues } from './send-queues.ts'

const STATES = ['none', 'connecting', 'ready', 'degraded'] as const

/** What an exporter includes besides the metrics of koaws itself. */
export interface Included {
  /** The instruments `http.server.*`. */
  readonly http: boolean
  /** The instruments `nodejs.*`. */
  readonly runtime: boolean
}

/** The metrics of one hub for one exporter. */
export class Collector {
  readonly observer: Observer
  readonly #hub: ObservedHub
  readonly #included: Included
  readonly #release: () => void
  readonly #queues: SendQueues
  readonly #loop: EventLoop | null
  /** The values that are read; the observer has the counted ones. */
  readonly #read = new Families()
  #isFinal = false

  constructor(hub: ObservedHub, included: Included) {
    const { observer, release } = observe(hub)
    this.observer = observer
    this.#hub = hub
    this.#included = included
    this.#release = release
    this.#queues = new SendQueues(hub.localConnections)
    this.#loop = included.runtime ? new EventLoop() : null
    observer.endings.add(this.#stopLoop)
  }

  readonly #stopLoop = (): void => this.#loop?.stop()

  /** Whether the hub has closed, and its last state has been read. */
  get isFinal(): boolean {
    return this.#isFinal
  }

  /** Brings the values that are read up to date. A closed hub is read once more. */
  read(): void {
    if (this.#isFinal) return
    this.#readStatus()
    this.#readLoop()
    this.#isFinal = this.observer.hasEnded
  }

  /** Returns the values of a counter or a gauge: the read ones, and the counted ones. */
  familiesOf(name: string): readonly Family[] {
    return this.#read.has(name) ? [this.#read.sum(name), this.observer.families.sum(name)] : []
  }

  /** Returns whether an instrument is exported. */
  includes(name: string): boolean {
    if (name.startsWith('http.')) return this.#included.http
    return this.#included.runtime || !name.startsWith('nodejs.')
  }

  /** Ends the use of the observer, and the measurement of the event loop. Idempotent. */
  stop(): void {
    this.#release()
    this.observer.endings.delete(this.#stopLoop)
    this.#stopLoop()
  }

  #readStatus(): void {
    const status = this.#hub.status()
    const { ready, connections, pending, rooms, users, draining } = status
    const read = this.#read
    const states = read.sum('koaws.connections.active')
    states.at('upgrading').value = pending
    states.at('open').value = draining ? 0 : connections
    states.at('draining').value = draining ? connections : 0
    read.sum('http.server.active_requests').at('GET').value = pending
    read.one('koaws.rooms.active').value = rooms
    read.one('koaws.users.active').value = users
    read.one('koaws.ready').value = ready ? 1 : 0
    read.one('koaws.metrics.overflow').value = this.observer.messages.overflow
    read.one('koaws.streams.active').value = status.streams.open
    read.one('koaws.streams.size').value = status.streams.bytes
    this.#readBackplane(status.backplane)
    this.#readHistory(status.history)
    this.#readDrops(status.drops)
    const { max, behind } = this.#queues.read()
    read.one('koaws.send_queue.max').value = max
    read.one('koaws.send_queue.behind').value = behind
  }

  #readBackplane(backplane: ReturnType<ObservedHub['status']>['backplane']): void {
    const read = this.#read
    for (const state of STATES) {
      read.sum('koaws.backplane.state').at(state).value = backplane.state === state ? 1 : 0
    }
    if (backplane.state === 'none') return
    read.one('koaws.backplane.queue.messages').value = backplane.queued.messages
    read.one('koaws.backplane.queue.size').value = backplane.queued.bytes
    read.one('koaws.backplane.instances').value = backplane.instances
    if (backplane.expected === undefined) return
    read.one('koaws.backplane.instances.expected').value = backplane.expected
  }

  #readHistory(history: ReturnType<ObservedHub['status']>['history']): void {
    if (history === null) return
    const read = this.#read
    read.one('koaws.history.followed').value = history.followed
    read.one('koaws.history.replaying').value = history.replaying
    read.one('koaws.history.queue.messages').value = history.queued.messages
    read.one('koaws.history.queue.size').value = history.queued.bytes
  }

  #readDrops(drops: Readonly<Record<string, number>>): void {
    const read = this.#read
    for (const [reason, count] of Object.entries(drops)) {
      read.sum(DROPS.get(reason) ?? 'koaws.drops').at(reason).value = count
    }
    read.one('koaws.slow_consumers').value = drops['slowConsumer'] ?? 0
    read.one('koaws.heartbeat.misses').value = drops['heartbeat'] ?? 0
  }

  #readLoop(): void {
    if (this.#loop === null) return
    for (const [figure, value] of Object.entries(this.#loop.read())) {
      this.#read.one(`nodejs.eventloop.${figure}`).value = value
    }
  }
}
