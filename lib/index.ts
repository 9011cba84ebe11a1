// The public names of koaws, grouped by concept.

// The plugin

export { memoryAdapter } from './adapters/memory.ts'
// Several instances
export type {
  Adapter,
  AdapterEvents,
  AdapterLink,
  EchoingLink,
  MaxQueued,
} from './backplane/adapter.ts'
export type { BackplaneStatus } from './backplane/host.ts'
// CommonJS
export { commonJs as 'module.exports' } from './common-js.ts'
// Connections
export type {
  Audience,
  Delivery,
  HistoryMessage,
  HistoryQuery,
  Member,
  Members,
  RecordedPosition,
  RecordResult,
  RoomHistory,
} from './connection/audience.ts'
export { Connection } from './connection/connection.ts'
export type { HandlerContext, RouteContext } from './connection/route-context.ts'
export type {
  FloodOptions,
  HeartbeatOptions,
  RuleOptions,
  SlowConsumerPolicy,
} from './connection/rules.ts'
export type {
  CloseInfo,
  Refresh,
  Replay,
  RequestOptions,
  Sendable,
  SendOptions,
} from './connection/types.ts'
// Diagnostics
export type {
  AnsweredEvent,
  BackplaneEvent,
  CloseEvent,
  ConnectionEvent,
  DropEvent,
  HandledEvent,
  LostEvent,
  MessageEvent,
  PongEvent,
  PublishedEvent,
  RecoveryEvent,
  SentAudience,
  SentEvent,
  ShutdownEvent,
  UpgradeEvent,
} from './diagnostics.ts'
// Errors and close codes
export type { ErrorCode, ErrorInfo, MessageFault } from './error-table.ts'
export { errorTable } from './error-table.ts'
export type { KoaWsErrorInit, MessageErrorInit } from './errors.ts'
export {
  AdapterError,
  KoaWsError,
  MessageError,
  OptionsError,
  UpgradeError,
} from './errors.ts'
export type { HistoryOptions } from './history/options.ts'
// The history of an adapter
export type {
  Entry,
  HistoryEvents,
  HistoryLimits,
  HistoryStore,
  Missing,
  NewEntry,
  OpenHistory,
  Place,
  Reading,
} from './history/store.ts'
export type { ErrorPlace } from './hub/error-place.ts'
export type {
  AskOptions,
  HubStatus,
  InstanceAnswer,
  InstanceAnswers,
  InstanceHandler,
} from './hub/hub.ts'
export type { PresenceOptions } from './hub/presence/options.ts'
export type { CloseOptions } from './hub/shutdown.ts'
export type { SignalOptions } from './hub/signals.ts'
export type { UserLimit } from './hub/user-limit.ts'
export type { AttachableServer, Hub } from './koa-ws.ts'
export { koaWs, koaWs as default } from './koa-ws.ts'
export type { OriginPolicy, OriginPredicate } from './listener/origin.ts'
// Messages
export type { Message } from './messages/message.ts'
export type {
  MessageHandler,
  MessageMiddleware,
  Messages,
  OpenMessages,
  RoomSource,
} from './messages/messages.ts'
export { messages } from './messages/messages.ts'
export type { MessagesOptions } from './messages/options.ts'
export type { HandlerOptions } from './messages/routes.ts'
export type { Handler } from './middleware/accept.ts'
// Upgrades: accepting and authenticating
export { accept } from './middleware/accept.ts'
export type { BearerOptions } from './middleware/bearer.ts'
export { bearer } from './middleware/bearer.ts'
export { bySubprotocol } from './middleware/by-subprotocol.ts'
export type { ContextWs } from './middleware/context.ts'
export { forward } from './middleware/forward.ts'
export type { RouteMiddleware, RouteParams } from './middleware/route.ts'
export type { KoaWsOptions, ReadyOptions } from './options.ts'
export type { Patterns } from './patterns.ts'
export type { AttachOptions } from './plugin.ts'
export { CloseCode } from './protocol/close-codes.ts'
export type {
  DefinitionOf,
  Protocol,
  ProtocolDefinition,
  ProtocolEntry,
} from './protocol/definition.ts'
export { protocol } from './protocol/definition.ts'
export type { PresenceData, PresentMember } from './protocol/presence.ts'
export type { SchemaIssue, SchemaResult, StandardSchema } from './protocol/standard-schema.ts'
export type { StreamsOptions } from './streams/options.ts'
export type { TracedMessage, TracedRequest, TraceFields, Tracer } from './tracer.ts'
export type { AcceptOptions, FromContext, SubprotocolChooser } from './upgrade/accept-options.ts'
export type { AcceptHandler } from './upgrade/chain.ts'
export type { DeflateOptions } from './upgrade/deflate.ts'
export type { RejectAs, RejectClose, RejectMode, RejectOption } from './upgrade/reject.ts'
