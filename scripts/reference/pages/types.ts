/**
 * # Types in signatures
 *
 * Signatures name these types, and no entry point exports them: TypeScript computes them from the protocol and the schemas.
 *
 * @module types
 */
export type { Source, Streams } from '../../../lib/client/stream-types.ts'
export type { ListenerResult } from '../../../lib/client/types.ts'
export type { Replied } from '../../../lib/messages/message.ts'
export type {
  AnswerGiven,
  AnyProtocol,
  DataAndOptions,
  DataArguments,
  PushGiven,
  ReceivedData,
  ReplyChecked,
  ReplyGiven,
  ReplyTaken,
  ServerRequestType,
  StreamItem,
  StreamType,
  UploadGiven,
  UploadType,
  WireData,
} from '../../../lib/protocol/definition.ts'
export type { Arriving, Serializable, Serialized } from '../../../lib/protocol/serialized.ts'
export type { SchemaInput, SchemaOutput } from '../../../lib/protocol/standard-schema.ts'
export type { AuthMiddleware } from '../../../lib/upgrade/accept-options.ts'
