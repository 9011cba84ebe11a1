// The table of all instruments, which `koaws/otel` and `koaws/prometheus` share.

import type { Instrument } from './instrument.ts'
import { backplaneInstruments } from './table-backplane.ts'
import { connectionInstruments } from './table-connections.ts'
import { messageInstruments } from './table-messages.ts'
import { processInstruments } from './table-process.ts'

/** All instruments. `docs/reference/metrics.md` is generated from this table. */
export const instruments: readonly Instrument[] = [
  ...connectionInstruments,
  ...messageInstruments,
  ...backplaneInstruments,
  ...processInstruments,
]
