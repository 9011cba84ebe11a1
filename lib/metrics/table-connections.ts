// The instruments of upgrades and connections.

import { counter, DURATIONS, gauge, histogram, LIFETIMES, upDownCounter } from './define.ts'
import type { Instrument } from './instrument.ts'

export const connectionInstruments: readonly Instrument[] = [
  upDownCounter(
    'koaws.connections.active',
    '{connection}',
    ['koaws.connection.state'],
    'Connections of this instance by state: `upgrading` (not decided yet), `open`, `draining` (open after `hub.close()`).',
  ),
  counter(
    'koaws.connections.opened',
    '{connection}',
    ['koaws.subprotocol'],
    'Accepted connections, by subprotocol: `koaws.v1`, `other`, `none`.',
  ),
  counter(
    'koaws.connections.closed',
    '{connection}',
    ['koaws.close.code', 'koaws.close.clean'],
    'Ended connections, by close code (`other` for an unknown one), and whether the closing handshake was completed.',
  ),
  histogram(LIFETIMES)(
    'koaws.connection.duration',
    's',
    ['koaws.subprotocol'],
    'The time from the accept to the end of a connection.',
  ),
  histogram(DURATIONS)(
    'koaws.upgrade.duration',
    's',
    ['koaws.upgrade.outcome', 'http.response.status_code', 'error.type'],
    'The time from the request to the decision, by outcome: `accepted`, `rejected`, `abandoned` (the client left, or there was no answer).',
  ),
  counter(
    'koaws.upgrades.rejected',
    '{upgrade}',
    ['error.type', 'http.response.status_code'],
    'Rejected upgrades by error code of koaws; `application` when a middleware rejected.',
  ),
  counter(
    'koaws.upgrades.limited',
    '{upgrade}',
    ['koaws.drop.reason'],
    'Upgrades that a limit or a check of koaws refused, by the counter in `status().drops`, since the start of the hub.',
  ),
  histogram(DURATIONS, 'stable')(
    'http.server.request.duration',
    's',
    ['http.request.method', 'http.response.status_code', 'error.type'],
    'Upgrades as HTTP requests. Off in `koaws/otel` by default, where the HTTP instrumentation measures them.',
  ),
  upDownCounter(
    'http.server.active_requests',
    '{request}',
    ['http.request.method'],
    'Upgrades that are not decided yet, as HTTP requests. Off in `koaws/otel` by default.',
  ),
  counter(
    'koaws.connections.ended',
    '{connection}',
    ['koaws.drop.reason'],
    'Connections that the server ended because of the client, by the counter in `status().drops`, since the start of the hub.',
  ),
  counter(
    'koaws.slow_consumers',
    '{connection}',
    [],
    'Connections closed with 4610 because the client received too slowly, since the start of the hub.',
  ),
  counter(
    'koaws.heartbeat.misses',
    '{connection}',
    [],
    'Connections terminated because the client did not answer a ping, since the start of the hub.',
  ),
  histogram([0.001, ...DURATIONS])(
    'koaws.heartbeat.rtt',
    's',
    [],
    'The round trip of a ping of the heartbeat or of the application.',
  ),
  counter(
    'koaws.connections.throttled',
    '{event}',
    ['koaws.drop.reason'],
    'Pauses and refusals because a client does too much, by the counter in `status().drops`, since the start of the hub.',
  ),
  upDownCounter('koaws.rooms.active', '{room}', [], 'Rooms with a member on this instance.'),
  upDownCounter('koaws.users.active', '{user}', [], 'Users with a connection to this instance.'),
  gauge(
    'koaws.send_queue.max',
    'By',
    [],
    'The largest number of bytes that wait for one client, among the connections looked at: at most 1,000 for each reading, in turn.',
  ),
  gauge(
    'koaws.send_queue.behind',
    '1',
    [],
    'The share of the connections looked at for which anything waits, from 0 to 1.',
  ),
]
