// The instruments of the backplane.

import { counter, DURATIONS, gauge, histogram, upDownCounter } from './define.ts'
import type { Instrument } from './instrument.ts'

export const backplaneInstruments: readonly Instrument[] = [
  gauge(
    'koaws.backplane.state',
    '{state}',
    ['koaws.backplane.state'],
    '1 for the present state of the backplane, 0 for the others: `none`, `connecting`, `ready`, `degraded`.',
  ),
  counter(
    'koaws.backplane.changes',
    '{change}',
    ['koaws.backplane.state'],
    'Reports of `koaws:backplane` by state: changes of the state, and new reasons for it.',
  ),
  upDownCounter(
    'koaws.backplane.queue.messages',
    '{message}',
    [],
    'Messages that wait for the engine of the adapter.',
  ),
  upDownCounter(
    'koaws.backplane.queue.size',
    'By',
    [],
    'The size of the messages that wait for the engine of the adapter.',
  ),
  gauge(
    'koaws.backplane.instances',
    '{instance}',
    [],
    'Other instances that are known to be alive.',
  ),
  gauge(
    'koaws.backplane.instances.expected',
    '{instance}',
    [],
    'All expected instances, including this one; absent when unknown.',
  ),
  histogram(DURATIONS)(
    'messaging.client.operation.duration',
    's',
    ['messaging.system.name', 'messaging.operation.name'],
    'The time from the end of the turn that published to the answer of the engine, with the time in the queue.',
  ),
  counter(
    'koaws.backplane.published',
    '{order}',
    [],
    'Sends, joins and other orders that the engine has taken.',
  ),
  counter(
    'koaws.backplane.published.size',
    'By',
    [],
    'The size of the payloads that the engine has taken.',
  ),
  counter(
    'koaws.backplane.losses',
    '{loss}',
    ['koaws.loss.direction'],
    'Reports of lost messages between instances: `in` (of others, not arrived here), `out` (of this one, not arriving elsewhere).',
  ),
  counter(
    'koaws.backplane.lost',
    '{message}',
    ['koaws.loss.direction'],
    'The messages that were lost between instances, at least: a loss of unknown size counts 0.',
  ),
  counter(
    'koaws.backplane.faults',
    '{event}',
    ['koaws.drop.reason'],
    'Faults between instances, by the counter in `status().drops`, since the start of the hub.',
  ),
]
