/**
 * # Adapters
 *
 * From `koaws`. An adapter joins the hubs of several instances. [Redis](redis.md) and [cluster](cluster.md) have entry points of their own.
 *
 * @module adapters
 */
export {
  type Adapter,
  type AdapterEvents,
  type AdapterLink,
  type BackplaneStatus,
  type EchoingLink,
  type Entry,
  type HistoryEvents,
  type HistoryLimits,
  type HistoryStore,
  type MaxQueued,
  type Missing,
  memoryAdapter,
  type NewEntry,
  type OpenHistory,
  type Place,
  type Reading,
} from '../../../lib/index.ts'
