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
export type { BackplaneStatus } from './backplane/backplane.ts'
// Connections
export type { Audience, Delivery, Member, Members } from './connection/audience.ts'
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
  RequestOptions,
  Sendable,
  SendOptions,
} from './connection/types.ts'
// Diagnostics
export type {
  BackplaneEvent,
  CloseEvent,
  ConnectionEvent,
  DropEvent,
  LostEvent,
  MessageEvent,
  UpgradeEvent,
} from './diagnostics.ts'
export type {
  ErrorCode,
  ErrorInfo,
  KoaWsErrorInit,
  MessageErrorInit,
  MessageFault,
} from './errors.ts'
// Errors and close codes
export {
  AdapterError,
  errorTable,
  KoaWsError,
  MessageError,
  OptionsError,
  UpgradeError,
} from './errors.ts'
export type { ErrorPlace } from './hub/connections.ts'
export type { PresenceOptions } from './hub/presence/options.ts'
export type { CloseOptions } from './hub/shutdown.ts'
export type { SignalOptions } from './hub/signals.ts'
export type { AttachableServer, AttachOptions, Hub, HubStatus } from './koa-ws.ts'
export { koaWs, koaWs as default } from './koa-ws.ts'
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
export type { DeflateOptions, KoaWsOptions } from './options.ts'
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
export type { Handler } from './upgrade/accept-middleware.ts'
// Upgrades: accepting and authenticating
export { accept, forward } from './upgrade/accept-middleware.ts'
export type { AcceptOptions, FromContext, SubprotocolChooser } from './upgrade/accept-options.ts'
export type { BearerOptions } from './upgrade/bearer.ts'
export { bearer } from './upgrade/bearer.ts'
export { bySubprotocol } from './upgrade/by-subprotocol.ts'
export type { ContextWs } from './upgrade/context.ts'
export type { RejectMode } from './upgrade/host.ts'
export type { OriginPolicy, OriginPredicate } from './upgrade/origin.ts'
export type { RouteMiddleware, RouteParams } from './upgrade/route.ts'
export type { AcceptHandler } from './upgrade/upgrade.ts'
