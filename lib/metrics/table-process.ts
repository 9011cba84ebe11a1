// The instruments of the process: readiness, shutdown, event loop, and the metrics themselves.

import { counter, gauge } from './define.ts'
import type { Instrument } from './instrument.ts'

const delay = (figure: string, words: string): Instrument =>
  gauge(
    `nodejs.eventloop.delay.${figure}`,
    's',
    [],
    `${words} of the event loop since the last reading.`,
  )

export const processInstruments: readonly Instrument[] = [
  gauge('koaws.ready', '{state}', [], '1 while `status().ready` is true, otherwise 0.'),
  gauge(
    'koaws.shutdown.connections',
    '{connection}',
    ['koaws.shutdown.stage'],
    'The open connections at the beginning of a stage of `hub.close()`: `delay`, `refuse`, `close`, `terminate`, `end`.',
  ),
  gauge(
    'koaws.shutdown.stage.duration',
    's',
    ['koaws.shutdown.stage'],
    'How long a stage of `hub.close()` took, once the next one has begun.',
  ),
  counter(
    'koaws.drops',
    '{event}',
    ['koaws.drop.reason'],
    'All counters in `status().drops` that no other instrument has, since the start of the hub.',
  ),
  delay('mean', 'The mean delay'),
  delay('p50', 'The median delay'),
  delay('p90', 'The 90th percentile of the delay'),
  delay('p99', 'The 99th percentile of the delay'),
  delay('max', 'The largest delay'),
  gauge(
    'nodejs.eventloop.utilization',
    '1',
    [],
    'The share of time that the event loop was not idle since the last reading, from 0 to 1.',
  ),
  counter(
    'koaws.metrics.overflow',
    '{value}',
    [],
    'Measurements under `_OTHER`, because there were too many types or error codes.',
  ),
]
