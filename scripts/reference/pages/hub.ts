/**
 * # koaWs() and the hub
 *
 * From `koaws`, where `koaWs` is also the default export and the result of `require('koaws')`. The plugin is Koa middleware and at the
 * same time the hub: the object that reaches every connection.
 *
 * @module hub
 */
export {
  type AskOptions,
  type AttachableServer,
  type AttachOptions,
  type CloseOptions,
  type DeflateOptions,
  type FloodOptions,
  type HeartbeatOptions,
  type HistoryOptions,
  type Hub,
  type HubStatus,
  type InstanceAnswer,
  type InstanceAnswers,
  type InstanceHandler,
  type KoaWsOptions,
  koaWs,
  type OriginPolicy,
  type OriginPredicate,
  type Patterns,
  type PresenceOptions,
  type ReadyOptions,
  type RejectAs,
  type RejectClose,
  type RejectMode,
  type RejectOption,
  type RuleOptions,
  type SignalOptions,
  type SlowConsumerPolicy,
  type StreamsOptions,
  type TracedMessage,
  type TracedRequest,
  type TraceFields,
  type Tracer,
  type UserLimit,
} from '../../../lib/index.ts'
