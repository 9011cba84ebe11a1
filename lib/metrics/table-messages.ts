// The instruments of messages in both directions.

import { COUNTS, counter, DURATIONS, histogram, upDownCounter } from './define.ts'
import type { Instrument } from './instrument.ts'

const SYSTEM = 'messaging.system.name'
const OPERATION = 'messaging.operation.name'
const TYPE = 'koaws.message.type'

export const messageInstruments: readonly Instrument[] = [
  counter(
    'koaws.messages.received',
    '{message}',
    ['koaws.message.format'],
    'Messages of clients, by format: `text`, `binary`.',
  ),
  counter(
    'koaws.messages.received.size',
    'By',
    ['koaws.message.format'],
    'The size of the messages of clients.',
  ),
  counter(
    'koaws.messages.handled',
    '{message}',
    [TYPE, 'koaws.message.kind'],
    'Messages that a handler of `messages()` took, by type and kind: `request`, `push`.',
  ),
  counter(
    'koaws.messages.handled.size',
    'By',
    [TYPE, 'koaws.message.kind'],
    'The size of the messages that a handler took.',
  ),
  histogram(DURATIONS, 'stable')(
    'rpc.server.call.duration',
    's',
    ['rpc.system.name', 'rpc.method', 'error.type'],
    'How long handlers of requests take, by type of the message and error code.',
  ),
  histogram(DURATIONS, 'stable')(
    'rpc.client.call.duration',
    's',
    ['rpc.system.name', 'rpc.method', 'error.type'],
    'How long clients take to answer `connection.request()`, by type of the request and error code: `ERR_KOAWS_TIMEOUT` without an answer.',
  ),
  histogram(DURATIONS)(
    'messaging.process.duration',
    's',
    [SYSTEM, OPERATION, TYPE, 'error.type'],
    'How long handlers of messages without a reply take, by type and error code.',
  ),
  counter(
    'messaging.client.consumed.messages',
    '{message}',
    [SYSTEM, OPERATION, TYPE],
    'Messages without a reply that were given to a handler, by type.',
  ),
  counter(
    'koaws.messages.failed',
    '{message}',
    [TYPE, 'error.type'],
    'Messages with a handler that failed, by type and error code.',
  ),
  counter(
    'koaws.messages.refused',
    '{message}',
    ['koaws.drop.reason'],
    'Messages of clients that were refused before a handler, by the counter in `status().drops`, since the start of the hub.',
  ),
  counter(
    'koaws.messages.sent',
    '{message}',
    ['koaws.message.kind'],
    'Messages to clients, counted for each connection, by kind: `push`, `reply`, `protocol` (of koaws itself), `other` (not of `koaws.v1`).',
  ),
  counter(
    'koaws.messages.sent.size',
    'By',
    ['koaws.message.kind'],
    'The size of the messages to clients before compression, counted for each connection.',
  ),
  counter(
    'messaging.client.sent.messages',
    '{message}',
    [SYSTEM, OPERATION, TYPE],
    'Pushes to clients by type, counted for each connection.',
  ),
  counter(
    'koaws.pushes.size',
    'By',
    [TYPE],
    'The size of the pushes to clients by type, counted for each connection.',
  ),
  counter(
    'koaws.broadcasts',
    '{message}',
    [],
    'Messages to audiences with a member on this instance.',
  ),
  counter(
    'koaws.broadcasts.deliveries',
    '{message}',
    [],
    'Messages to audiences, counted for each connection of this instance: divided by `koaws.broadcasts`, the mean fan-out.',
  ),
  counter(
    'koaws.messages.dropped',
    '{message}',
    ['koaws.drop.reason'],
    'Messages that were dropped, by the counter in `status().drops`, since the start of the hub.',
  ),
  counter(
    'koaws.recoveries',
    '{recovery}',
    ['koaws.recovery.outcome', 'koaws.recovery.reason'],
    'Returns of clients to rooms with history, by outcome (`recovered`, `refused`) and reason.',
  ),
  histogram(COUNTS)(
    'koaws.recovery.missed',
    '{message}',
    [],
    'The number of messages that a client had missed and gets again.',
  ),
  upDownCounter(
    'koaws.streams.active',
    '{stream}',
    [],
    'Requests with a stream that have a running handler on this instance.',
  ),
  upDownCounter(
    'koaws.streams.size',
    'By',
    [],
    'The bytes that streams hold: items that may have to be sent again, or that wait for a handler.',
  ),
  upDownCounter(
    'koaws.history.followed',
    '{log}',
    [],
    'Rooms and users with history that have a member on this instance.',
  ),
  upDownCounter(
    'koaws.history.replaying',
    'By',
    [],
    'Missed messages that are being sent, or not taken by their clients yet.',
  ),
  upDownCounter(
    'koaws.history.queue.messages',
    '{message}',
    [],
    'Messages that wait for the engine to record them.',
  ),
  upDownCounter(
    'koaws.history.queue.size',
    'By',
    [],
    'The size of the messages that wait for the engine to record them.',
  ),
]
