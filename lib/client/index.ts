// The entry `koaws/client`: its public names.

// Types of a protocol, for code that passes a client on.
export type {
  ClientData,
  ClientType,
  DefinitionOf,
  Protocol,
  ProtocolDefinition,
  PushData,
  ServerType,
} from '../protocol/definition.ts'
export type {
  NotRecovered,
  Recovered,
  Recovery,
  RoomPosition,
  Unrecovered,
} from '../protocol/history.ts'
export type { PresenceData, PresentMember } from '../protocol/presence.ts'
export { connect } from './client.ts'
export type { RequestErrorInit } from './errors.ts'
export { RequestError } from './errors.ts'
export { protocol } from './protocol.ts'
export type { RequestOptions } from './requests.ts'
export type { ConnectOptions, QueueOptions } from './settings.ts'
export type { ClientState } from './store.ts'
export type { ClientStream, StreamOptions, UploadOptions } from './stream-types.ts'
export type { Token, TokenSource } from './token.ts'
export type {
  Client,
  MessageTrace,
  OpenConnection,
  PushOptions,
  PushResult,
  Resync,
} from './types.ts'
export type { WebSocketClass, WebSocketLike } from './web-socket.ts'
