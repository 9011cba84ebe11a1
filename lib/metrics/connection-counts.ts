// Counts upgrades, connections and round trips.

import type { CloseEvent, UpgradeEvent } from '../index.ts'
import type { Families } from './families.ts'
import type { Distribution, HistogramFamily } from './family.ts'
import type { ObservedConnection } from './hub.ts'
import { closeCode, method, statusCode, subprotocol, upgradeError } from './known.ts'

/** Milliseconds of a second. */
const SECOND = 1000

export class ConnectionCounts {
  readonly #families: Families
  readonly #upgrades: HistogramFamily
  readonly #requests: HistogramFamily
  readonly #lives: HistogramFamily
  readonly #rtt: Distribution

  constructor(families: Families) {
    this.#families = families
    this.#upgrades = families.histogram('koaws.upgrade.duration')
    this.#requests = families.histogram('http.server.request.duration')
    this.#lives = families.histogram('koaws.connection.duration')
    this.#rtt = families.histogram('koaws.heartbeat.rtt').at()
  }

  decided(event: UpgradeEvent): void {
    const { status, code, duration, method: name } = event
    const seconds = duration / SECOND
    const outcome = outcomeOf(event)
    const answered = statusCode(status)
    const error = outcome === 'rejected' ? upgradeError(code) : ''
    this.#upgrades.at(outcome, answered, error).record(seconds)
    // As the conventions say: a status of the client's fault is no error of the server.
    const failure = status >= 500 ? answered : ''
    if (status > 0) this.#requests.at(method(name), answered, failure).record(seconds)
    if (outcome === 'rejected') {
      this.#families.sum('koaws.upgrades.rejected').at(error, answered).value++
    }
  }

  opened({ protocol }: ObservedConnection): void {
    this.#families.sum('koaws.connections.opened').at(subprotocol(protocol)).value++
  }

  closed({ code, clean }: CloseEvent, { openedAt, protocol }: ObservedConnection): void {
    this.#families.sum('koaws.connections.closed').at(closeCode(code), String(clean)).value++
    // The clock of the system may have gone back.
    const lived = Math.max(0, Date.now() - openedAt)
    this.#lives.at(subprotocol(protocol)).record(lived / SECOND)
  }

  ponged(rtt: number): void {
    this.#rtt.record(rtt / SECOND)
  }
}

/** An accept over HTTP/2 has the status 200, which no rejection has there. */
function outcomeOf({ status, request }: UpgradeEvent): 'accepted' | 'rejected' | 'abandoned' {
  if (status === 101) return 'accepted'
  const isHttp2 = Reflect.get(Object(request), 'httpVersionMajor') >= 2
  if (isHttp2 && status === 200) return 'accepted'
  return status === 0 ? 'abandoned' : 'rejected'
}
