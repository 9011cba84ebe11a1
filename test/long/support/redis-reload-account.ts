import type { ReloadClient } from './redis-reload-clients.ts'
import type { Published, Publisher, Unsure } from './redis-reload-publisher.ts'

/**
 * Messages published this shortly before a worker is told to stop may still be on the way to it,
 * in milliseconds.
 */
export const EDGE = 250

/** Facts that may explain a loss. */
interface Loss {
  readonly key: string
  readonly at: number
  readonly verdict: string
  /** The publishing worker, and the worker that should have delivered. */
  readonly publisher: number
  readonly 'its age, s': number
  readonly receiver: number
  readonly 'ms since it joined': number
  readonly 'ms until it left': number | null
}

interface Counts {
  published: number
  came: number
}

/** What a run knows besides the messages. */
export interface Circumstances {
  readonly contestant: string
  readonly date: string
  readonly fault: string
  readonly faults: number
  readonly workersOnline: number
  /** The first lines on the stderr of workers. */
  readonly errors: string
  /** The longest turn of the event loop of the clients, in milliseconds. */
  readonly longestTurn: number
}

export interface Outcome extends Circumstances {
  readonly published: number
  readonly verdicts: Record<string, number>
  readonly unsure: number
  readonly skipped: number
  /** Deliveries to clients that were in the room at the time, or recovered. */
  readonly owed: number
  readonly lost: number
  /** Losses that were reported to the publisher or to the receiver. */
  readonly reported: number
  /** At most 20. */
  readonly losses: readonly Loss[]
  /** Missing deliveries of messages with an unknown result that another client got. */
  readonly torn: number
  readonly duplicated: number
  /** Messages that came after a later one of the same publisher. */
  readonly reordered: number
  /** Messages that came in another order than the history has them. */
  readonly disordered: number
  /** Deliveries just before a worker was told to stop. */
  readonly edge: Counts
  /** Deliveries to clients that were away. */
  readonly away: Counts
  /** The number of departures by reason, and of recoveries of missed messages. */
  readonly departures: Record<string, number>
  readonly recoveries: number
  readonly resyncs: number
  /** How long clients were away, in milliseconds. */
  readonly awayMs: { readonly median: number; readonly max: number }
  readonly neverBack: number
}

export function outcomeOf(
  clients: readonly ReloadClient[],
  { published, unsure, skipped }: Publisher,
  rest: Circumstances,
): Outcome {
  const verdicts: Record<string, number> = {}
  for (const { verdict } of published) verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  const places = placesOf(published)
  let [owed, lost, reported, duplicated, resyncs, recoveries] = [0, 0, 0, 0, 0, 0]
  let [reordered, disordered] = [0, 0]
  const edge: Counts = { published: 0, came: 0 }
  const away: Counts = { published: 0, came: 0 }
  const departures: Record<string, number> = {}
  const gaps: number[] = []
  const losses: Loss[] = []
  for (const client of clients) {
    resyncs += client.resyncs.length
    for (const { from, to, recovered, why } of client.absences) {
      departures[why] = (departures[why] ?? 0) + 1
      if (recovered) recoveries++
      if (to !== Number.POSITIVE_INFINITY) gaps.push(to - from)
    }
    for (const times of client.got.values()) duplicated += times - 1
    reordered += outOfOrder(client, ofPublisher)
    disordered += outOfOrder(client, (key) => ['', places.get(key)])
    for (const one of published) {
      const { key, room, at } = one
      if (room !== client.room) continue
      const came = client.got.has(key)
      const kind = presenceOf(client, at)
      if (kind === 'in') {
        owed++
        if (came) continue
        lost++
        if (isReported(client, one)) reported++
        if (losses.length < 20) losses.push(lossOf(client, one))
      } else {
        const counts = kind === 'edge' ? edge : away
        counts.published++
        if (came) counts.came++
      }
    }
  }
  gaps.sort((a, b) => a - b)
  const awayMs = { median: gaps[gaps.length >> 1] ?? 0, max: gaps.at(-1) ?? 0 }
  const neverBack = clients.filter(({ isIn }) => !isIn).length
  const torn = unsure.reduce((sum, one) => sum + tornOf(clients, one), 0)
  const counts = { published: published.length, verdicts, unsure: unsure.length, skipped }
  const judged = { owed, lost, reported, torn, duplicated, reordered, disordered }
  const presence = { edge, away, departures, recoveries, resyncs, awayMs, neverBack }
  return { ...rest, ...counts, ...judged, ...presence, losses }
}

/** The place of each message in the history of its room, as text that sorts. */
function placesOf(published: readonly Published[]): Map<string, string> {
  const places = new Map<string, string>()
  for (const { key, position } of published) {
    const [epoch, offset = ''] = position?.split('.') ?? []
    if (epoch) places.set(key, `${epoch} ${offset.padStart(12, '0')}`)
  }
  return places
}

/** The publisher of a message, and its place among the messages of it. */
function ofPublisher(key: string): [string, string] {
  const [p = '', s = ''] = key.split(':')
  return [p, s.padStart(12, '0')]
}

/** Counts the messages that arrived after a later message. */
function outOfOrder(
  { got }: ReloadClient,
  placeOf: (key: string) => [lane: string, place: string | undefined],
): number {
  const last = new Map<string, string>()
  let count = 0
  for (const key of got.keys()) {
    const [lane, place] = placeOf(key)
    if (place === undefined) continue
    if (place < (last.get(lane) ?? '')) count++
    else last.set(lane, place)
  }
  return count
}

/** Returns how many clients miss a message with an unknown result, if others got it. */
function tornOf(clients: readonly ReloadClient[], { key, room, at }: Unsure): number {
  const members = clients.filter(
    (client) => client.room === room && presenceOf(client, at) === 'in',
  )
  const missing = members.filter(({ got }) => !got.has(key)).length
  return missing === members.length ? 0 : missing
}

/** Whether the loss was reported to the publisher, or to the client afterwards. */
function isReported({ resyncs }: ReloadClient, { at, verdict }: Published): boolean {
  return verdict === 'queued' || verdict === 'failed' || resyncs.some((told) => told >= at)
}

function lossOf({ workers, absences }: ReloadClient, one: Published): Loss {
  const { key, at, pid, age, verdict } = one
  const worker = workers.findLast((each) => each.at <= at)
  const next = absences.find(({ from }) => from > at)
  return {
    key,
    at,
    verdict,
    publisher: pid,
    'its age, s': Number(age.toFixed(2)),
    receiver: worker?.pid ?? 0,
    'ms since it joined': at - (worker?.at ?? 0),
    'ms until it left': next ? next.from - at : null,
  }
}

/** Returns where a client was at a publish. A recovered client counts as in the room. */
function presenceOf({ absences, joinedAt }: ReloadClient, at: number): 'in' | 'edge' | 'away' {
  if (at <= joinedAt) return 'away'
  for (const { from, to, recovered } of absences) {
    if (recovered || at > to || at <= from - EDGE) continue
    return at <= from ? 'edge' : 'away'
  }
  return 'in'
}

/** Returns the failed checks of koaws. */
export function wrongIn(outcome: Outcome, workers: number): string[] {
  const { contestant, fault, lost, reported, duplicated, neverBack, errors, owed } = outcome
  if (!contestant.startsWith('koaws')) return []
  const hasHistory = contestant.endsWith('history')
  const wrong: string[] = []
  const must = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(`${contestant}, ${fault}: ${what}`)
  }
  must(owed > 0, 'nothing was owed to anybody')
  must(duplicated === 0, `${duplicated} came twice`)
  must(neverBack === 0, `${neverBack} clients did not come back`)
  must(outcome.workersOnline === workers, `${outcome.workersOnline} workers are online`)
  // While a worker is missing, the others may warn.
  const isCalm =
    fault === 'kill' && errors.split('\n').every((line) => /Warning|trace-warnings/.test(line))
  must(errors === '' || isCalm, `a worker printed ${errors}`)
  must(lost === 0, `${lost} lost, ${reported} of them reported`)
  must(outcome.reordered === 0, `${outcome.reordered} came out of order`)
  if (!hasHistory) return wrong
  const departures = Object.values(outcome.departures).reduce((sum, many) => sum + many, 0)
  must(outcome.recoveries > 0, 'nothing was recovered')
  must(outcome.recoveries === departures, `${departures - outcome.recoveries} were not recovered`)
  must(outcome.torn === 0, `${outcome.torn} did not get a message that others got`)
  must(outcome.disordered === 0, `${outcome.disordered} came in another order than recorded`)
  must(outcome.resyncs === 0, `${outcome.resyncs} reports of losses`)
  return wrong
}

export function row(outcome: Outcome): Record<string, unknown> {
  const pairs = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([name, many]) => `${name} ${many}`)
      .join(', ')
  return {
    contestant: outcome.contestant,
    fault: outcome.fault,
    published: outcome.published,
    verdicts: pairs(outcome.verdicts),
    'unsure/skipped/torn': `${outcome.unsure}/${outcome.skipped}/${outcome.torn}`,
    owed: outcome.owed,
    LOST: outcome.lost,
    reported: outcome.reported,
    twice: outcome.duplicated,
    disorder: `${outcome.reordered}/${outcome.disordered}`,
    'at the edge': `${outcome.edge.came} of ${outcome.edge.published}`,
    'while away': `${outcome.away.came} of ${outcome.away.published}`,
    left: pairs(outcome.departures),
    recovered: outcome.recoveries,
    'away ms median/max': `${outcome.awayMs.median}/${outcome.awayMs.max}`,
  }
}
